"""Connections: how many there are, how slow they may be, and JSON for what is not even HTTP."""

import asyncio
import secrets
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from tokenplace_relay.config import Config
from tokenplace_relay.http import SERVER, ApiError
from tokenplace_relay.logs import get

log = get("tokenplace.relay.connections")

_BUSY: Final = (
    b'{"error":{"code":"too_many_connections","message":"This relay has too many connections"}}\n'
)
_BUSY_HEAD: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"X-Request-Id: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
)


class Runner(web.AppRunner):
    """Runs an application with bounded connections."""

    def __init__(self, app: web.Application, config: Config) -> None:
        super().__init__(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=1,
        )
        self._config = config

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Gate(made, self._config)


class Gate(web.Server):
    """Makes one protocol per connection, and turns away those beyond the bound."""

    def __init__(self, made: web.Server, config: Config) -> None:
        super().__init__(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
        )
        self.config = config
        self.open = 0

    def __call__(self) -> "RequestHandler | TurnedAway":  # type: ignore[override]
        """A protocol for the next connection."""
        if self.open >= self.config.max_connections:
            return TurnedAway()
        return Connection(self)


class TurnedAway(asyncio.Protocol):
    """Tells a peer that there is no room, in its own language."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and close."""
        out = cast("asyncio.Transport", transport)
        out.write(_BUSY_HEAD % (secrets.token_hex(8).encode(), len(_BUSY)) + _BUSY)
        out.close()


class Connection(RequestHandler):
    """One connection; a peer that is too slow to write a head, or to read, is cut off."""

    __slots__ = ("_gate", "_head_late", "_read_late")

    def __init__(self, gate: Gate) -> None:
        config = gate.config
        quiet: dict[str, Any] = {"access_log": None}
        super().__init__(
            gate,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=config.keepalive_timeout,
            max_line_size=config.max_url_bytes,
            max_field_size=config.max_header_bytes,
            max_headers=config.max_headers,
            # A small body that unpacks to a large one is refused by its Content-Encoding.
            auto_decompress=False,
            **quiet,
        )
        self._gate = gate
        self._head_late: asyncio.TimerHandle | None = None
        self._read_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and wait for a head."""
        self._gate.open += 1
        self._head_late = self._in(self._gate.config.header_timeout)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Uncount it."""
        self._gate.open -= 1
        _cancel(self._head_late)
        self._head_late = None
        _cancel(self._read_late)
        self._read_late = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that has begun must be whole in time."""
        super().data_received(data)
        is_between_requests = self._waiter is not None and not self._waiter.done()
        if not is_between_requests:
            _cancel(self._head_late)
            self._head_late = None
        elif self._head_late is None:
            self._head_late = self._in(self._gate.config.header_timeout)

    def pause_writing(self) -> None:
        """The peer does not read on."""
        super().pause_writing()
        self._read_late = self._in(self._gate.config.write_timeout)

    def resume_writing(self) -> None:
        """The peer reads on."""
        _cancel(self._read_late)
        self._read_late = None
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        _message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or too long to be; the message may quote the peer."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        log.info("broken request", error=type(exc).__name__, http_status=status)
        response = _refusal(status, exc).response()
        response.headers.update({"X-Request-Id": secrets.token_hex(8), "Server": SERVER})
        return response

    def _in(self, seconds: float) -> asyncio.TimerHandle:
        return self._loop.call_later(seconds, self._cut_off)

    def _cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _refusal(status: int, exc: BaseException | None) -> ApiError:
    if isinstance(exc, LineTooLong):
        return ApiError(413, "Request line or header is too long", close=True)
    if status < 500:
        return ApiError(status, "Malformed HTTP request", close=True)
    return ApiError(status, "Internal server error", close=True)
