"""Connections: how many there are, how slow they may be, and JSON for what is not even HTTP."""

import asyncio
import secrets
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from tokenplace_relay.server.direct import DirectHandler, DirectTable
from tokenplace_relay.server.head_tracker import Heads
from tokenplace_relay.server.response import SERVER, Answer, ApiError, body_size
from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.server.write_batching import Cork, Corked
from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.logs import get
from tokenplace_relay.telemetry.metrics import Metrics

log = get("tokenplace.relay.connections")

_BUSY: Final = (
    b'{"error":{"code":"too_many_connections","message":"This relay has too many connections"}}\n'
)
_SHARES: Final = 10
"""A peer has so many times the timeout to read what waited for it."""
_BUSY_HEAD: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"X-Request-Id: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
)


class Runner(web.AppRunner):
    """Runs an application with bounded connections."""

    def __init__(
        self,
        app: web.Application,
        config: Config,
        metrics: Metrics,
        unsent: UnsentBytes,
        direct: DirectTable,
    ) -> None:
        super().__init__(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=1,
        )
        self._config = config
        self._metrics = metrics
        self._unsent = unsent
        self._direct = direct

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Gate(made, self._config, self._metrics, self._unsent, self._direct)


class Gate(web.Server):
    """Makes one protocol per connection, and turns away those beyond the bound."""

    def __init__(
        self,
        made: web.Server,
        config: Config,
        metrics: Metrics,
        unsent: UnsentBytes,
        direct: DirectTable,
    ) -> None:
        super().__init__(
            _found_by_path(direct, made.request_handler),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
        )
        self.config = config
        self.metrics = metrics
        self.unsent = unsent
        self.open = 0
        self.cork = Cork(asyncio.get_running_loop(), unsent)

    def __call__(self) -> "RequestHandler | TurnedAway":  # type: ignore[override]
        """A protocol for the next connection."""
        if self.open >= self.config.max_connections:
            self.count(503)
            return TurnedAway()
        return Connection(self)

    def count(self, status: int) -> None:
        """Count an answer to what never became a request of the application."""
        self.metrics.observe("other", "other", status, 0.0)


def _found_by_path(direct: DirectTable, others: DirectHandler) -> DirectHandler:
    """Handle by the table what is in it, and by the application's router all else."""

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        handler = direct.get((request.method, request.rel_url.raw_path))
        if handler is None or hdrs.EXPECT in request.headers:
            return others(request)
        return handler(request)

    return handle


class TurnedAway(asyncio.Protocol):
    """Tells a peer that there is no room, in its own language."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and close."""
        out = cast("asyncio.Transport", transport)
        out.write(_BUSY_HEAD % (secrets.token_hex(8).encode(), len(_BUSY)) + _BUSY)
        out.close()


class Connection(RequestHandler):
    """One connection; a peer that is too slow to write a head, or to read, is cut off."""

    __slots__ = ("_corked", "_gate", "_goal", "_head_late", "_heads", "_read_late", "_share")

    def __init__(self, gate: Gate) -> None:
        config = gate.config
        quiet: dict[str, Any] = {"access_log": None}
        super().__init__(
            gate,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=config.keepalive_timeout,
            max_line_size=config.max_url_bytes,
            max_field_size=_header_limit(config),
            max_headers=config.max_headers,
            # A small body that unpacks to a large one is refused by its Content-Encoding.
            auto_decompress=False,
            **quiet,
        )
        self._gate = gate
        self._heads = Heads()
        self._head_late: asyncio.TimerHandle | None = None
        self._read_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and wait for a head."""
        self._gate.open += 1
        self._await_head()
        out = cast("asyncio.Transport", transport)
        # Told of each byte that the system does not take, and of the last that it took.
        out.set_write_buffer_limits(high=0)
        self._corked = Corked(out, self._gate.cork)
        super().connection_made(self._corked)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Uncount it."""
        self._gate.open -= 1
        _cancel(self._head_late)
        self._head_late = None
        _cancel(self._read_late)
        self._read_late = None
        self._corked.forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; a head that has begun must be whole in time."""
        seen = self._request_count
        super().data_received(data)
        self._break_body()
        new = self._request_count - seen
        requests = list(self._messages)[-new:] if new else ()
        # What a full queue holds back is not looked into: it counts as the beginning of a head.
        is_within = self._heads.step(data, requests) or self._buffer_paused
        if new:
            _cancel(self._head_late)
            self._head_late = None
        if is_within and self._head_late is None:
            self._await_head()

    def _await_head(self) -> None:
        self._head_late = self._loop.call_later(
            self._gate.config.header_timeout, self._head_is_late
        )

    def _head_is_late(self) -> None:
        """Cut off who sent half a head; one that came behind a request waits for its end."""
        if self._messages or self._request_in_progress:
            self._await_head()
        else:
            self._cut_off()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on where reading was paused; aiohttp asks for it after each body, paused or not."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def _break_body(self) -> None:
        """End the wait for a body whose next part is not HTTP: aiohttp would let it time out."""
        reading = self._current_request
        if reading is None or not self._messages or reading.content.is_eof():
            return
        if isinstance(self._messages[-1][0], _ErrInfo):
            # What is left of it cannot be read off after the answer either.
            self._lingering_time = 0
            reading.content.set_exception(web.RequestPayloadError("broken"))

    def pause_writing(self) -> None:
        """The peer does not read on."""
        super().pause_writing()
        self._share = max(1, self._corked.recount() // _SHARES)
        self._await_reader()

    def _await_reader(self) -> None:
        self._goal = self._corked.gone() + self._share
        self._read_late = self._loop.call_later(
            self._gate.config.write_timeout, self._reading_is_late
        )

    def _reading_is_late(self) -> None:
        """Cut off who has not read a fair share since."""
        if self._corked.gone() < self._goal:
            self._cut_off()
        else:
            self._await_reader()

    def resume_writing(self) -> None:
        """The peer reads on."""
        _cancel(self._read_late)
        self._read_late = None
        self._corked.recount()
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
        refusal = _refusal(status, exc, self._gate.config)
        self._gate.count(refusal.status)
        log.info("broken request", error=type(exc).__name__, http_status=refusal.status)
        return _headed(refusal.response())

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Write an answer; what aiohttp refused before the application saw it gets our shape."""
        if type(resp) is not Answer and isinstance(resp, web.HTTPException):
            self._gate.count(resp.status)
            resp = _headed(ApiError(resp.status, resp.reason, close=True).response())
        finish = super().finish_response(request, resp, start_time)
        return _let_go(finish) if body_size(resp) > self._gate.unsent.small else finish

    def _cut_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()


async def _let_go(
    finish: Coroutine[Any, Any, tuple[web.StreamResponse, bool]],
) -> tuple[web.StreamResponse, bool]:
    """Write a large answer and drop its body, which aiohttp keeps until the next request."""
    resp, is_lost = await finish
    if isinstance(resp, web.Response):
        resp.body = None
    return resp, is_lost


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _header_limit(config: Config) -> int:
    """Never the limit of the request line: it is all that tells their errors apart."""
    limit = config.max_header_bytes
    return limit + 1 if limit == config.max_url_bytes else limit


def _refusal(status: int, exc: BaseException | None, config: Config) -> ApiError:
    if isinstance(exc, LineTooLong):
        if exc.args[1] == config.max_url_bytes:
            return ApiError(414, "Request line is too long", close=True)
        return ApiError(431, "Header is too long", close=True)
    if isinstance(exc, BadHttpMessage) and exc.message.startswith("Too many"):
        return ApiError(431, "Too many headers", close=True)
    if status < 500:
        return ApiError(status, "Malformed HTTP request", close=True)
    return ApiError(status, "Internal server error", close=True)


def _headed(response: web.Response) -> web.Response:
    response.headers.update({"X-Request-Id": secrets.token_hex(8), "Server": SERVER})
    return response
