"""Connections: bounded in number and in time, with JSON errors for malformed HTTP."""

import asyncio
import secrets
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from tokenplace_relay.server.aiohttp_internals import (
    ConnectionInternals,
    OneStepResponse,
    WrappingRunner,
    WrappingServer,
)
from tokenplace_relay.server.direct import DirectHandler, DirectTable
from tokenplace_relay.server.head_tracker import HeadTracker
from tokenplace_relay.server.response import SERVER, ApiError, body_size
from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.server.write_batching import BatchedTransport, WriteBatcher
from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.logs import get
from tokenplace_relay.telemetry.metrics import Metrics

log = get("tokenplace.relay.connections")

_BUSY: Final = (
    b'{"error":{"code":"too_many_connections","message":"This relay has too many connections"}}\n'
)
_BUSY_HEAD: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
    b"X-Request-Id: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
)
_SHARES: Final = 10
"""Within each write timeout, a peer must read at least this fraction of what waits for it."""


def runner(
    app: web.Application,
    config: Config,
    metrics: Metrics,
    unsent: UnsentBytes,
    direct: DirectTable,
) -> web.AppRunner:
    """Return a runner whose connections are those of this file."""
    return WrappingRunner(
        app,
        lambda original: ConnectionFactory(original, config, metrics, unsent, direct),
        # aiohttp's access log contains addresses, which the relay never logs.
        access_log=None,
        # On SIGTERM the relay drains first; aiohttp's handler would stop it at once.
        handle_signals=False,
        # A poll must end when its node hangs up, or it would claim work that nothing answers.
        handler_cancellation=True,
        shutdown_timeout=1,
    )


class ConnectionFactory(WrappingServer):
    """Makes one protocol per connection, and refuses connections beyond the limit."""

    def __init__(
        self,
        original: web.Server,
        config: Config,
        metrics: Metrics,
        unsent: UnsentBytes,
        direct: DirectTable,
    ) -> None:
        super().__init__(original, lambda others: _direct_first(direct, others))
        self.config = config
        self.metrics = metrics
        self.unsent = unsent
        self.open = 0
        self.loop = asyncio.get_running_loop()
        self.batcher = WriteBatcher(self.loop, unsent)
        unsent.is_tracked = True

    def __call__(self) -> "web.RequestHandler | RefusedConnection":  # type: ignore[override]
        """Return the protocol of the next connection."""
        # asyncio has accepted the connection already, so it can only be refused by a response.
        if self.open >= self.config.max_connections:
            self.count(503)
            return RefusedConnection()
        return Connection(self)

    def count(self, status: int) -> None:
        """Count a response to a request that never reached the application."""
        self.metrics.observe("other", "other", status, 0.0)


def _direct_first(direct: DirectTable, others: DirectHandler) -> DirectHandler:
    """Return a handler that uses the direct table, and aiohttp's router for all other requests."""

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        # The path is compared as it was sent: an escaped path goes to the router, which decodes it.
        handler = direct.get((request.method, request.rel_url.raw_path))
        # aiohttp's application answers the Expect header, so such requests go there.
        if handler is None or hdrs.EXPECT in request.headers:
            return others(request)
        return handler(request)

    return handle


class RefusedConnection(asyncio.Protocol):
    """Answers 503 to a connection beyond the limit, and closes it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write the response and close."""
        stream = cast("asyncio.Transport", transport)
        # The request is not read: at the limit, the relay spends no time on parsing.
        stream.write(_BUSY_HEAD % (secrets.token_hex(8).encode(), len(_BUSY)) + _BUSY)
        stream.close()


class Connection(ConnectionInternals):
    """One connection; it is aborted if its peer sends a head, or reads responses, too slowly."""

    __slots__ = ("_batched", "_factory", "_goal", "_head_timer", "_heads", "_read_timer", "_share")

    def __init__(self, factory: ConnectionFactory) -> None:
        config = factory.config
        options: dict[str, Any] = {"access_log": None}
        super().__init__(
            factory,
            loop=factory.loop,
            keepalive_timeout=config.keepalive_timeout,
            max_line_size=config.max_url_bytes,
            max_field_size=_header_limit(config),
            max_headers=config.max_headers,
            # A compressed body is refused, so a small one cannot unpack to a large one.
            auto_decompress=False,
            **options,
        )
        self._factory = factory
        self._heads = HeadTracker()
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and start the timer of its first head."""
        self._factory.open += 1
        # The timer also bounds a peer that connects and sends nothing: aiohttp alone would wait for
        # the whole keep-alive timeout.
        self._start_head_timer()
        stream = cast("asyncio.Transport", transport)
        # With 0, pause_writing is called as soon as the kernel leaves a byte, and resume_writing
        # when it has taken the last one.
        stream.set_write_buffer_limits(high=0)
        self._batched = BatchedTransport(stream, self._factory.batcher)
        super().connection_made(self._batched)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop counting the connection and stop its timers."""
        self._factory.open -= 1
        _cancel(self._head_timer)
        self._head_timer = None
        _cancel(self._read_timer)
        self._read_timer = None
        self._batched.release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes; the head timer runs from the first byte of a head to its last."""
        parsed = self.parse(data)
        is_in_head = self._heads.feed(data, parsed)
        if parsed and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        # A running timer is not restarted, or a peer could send single bytes indefinitely.
        # Unparsed bytes count as the beginning of a head.
        if (is_in_head or self.is_parser_paused) and self._head_timer is None:
            self._start_head_timer()

    def _start_head_timer(self) -> None:
        timeout = self._factory.config.header_timeout
        self._head_timer = self._factory.loop.call_later(timeout, self._head_timed_out)

    def _head_timed_out(self) -> None:
        """Abort, unless an earlier request is still handled: its response must be sent first."""
        if self.is_busy:
            self._start_head_timer()
        else:
            self._abort()

    def pause_writing(self) -> None:
        """Start the read timer: the kernel takes no more bytes."""
        super().pause_writing()
        # The limit is a share per period, not a time for the whole response: a slow but steady
        # reader of a large answer must not be cut off.
        self._share = max(1, self._batched.recount() // _SHARES)
        self._start_read_timer()

    def _start_read_timer(self) -> None:
        self._goal = self._batched.sent() + self._share
        timeout = self._factory.config.write_timeout
        self._read_timer = self._factory.loop.call_later(timeout, self._read_timed_out)

    def _read_timed_out(self) -> None:
        """Abort if the peer has read less than its share, or else start the next period."""
        if self._batched.sent() < self._goal:
            self._abort()
        else:
            self._start_read_timer()

    def resume_writing(self) -> None:
        """Stop the read timer: the kernel took all bytes."""
        _cancel(self._read_timer)
        self._read_timer = None
        # Without a recount the total would stay too high until this connection writes again.
        self._batched.recount()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        _message: str | None = None,
    ) -> web.StreamResponse:
        """Return the response to a malformed request; aiohttp's message may quote the request."""
        # A second status line would be read as part of the body that has started.
        if request.writer.output_size > 0:
            raise ConnectionError("the response has started")
        error = _http_error(status, exc, self._factory.config)
        self._factory.count(error.status)
        log.info("malformed request", error=type(exc).__name__, http_status=error.status)
        return _with_headers(error.response())

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Write a response; errors of aiohttp itself get our JSON shape."""
        # The exact type is compared first because isinstance is slow for aiohttp's abstract
        # classes.
        if type(resp) is not OneStepResponse and isinstance(resp, web.HTTPException):
            self._factory.count(resp.status)
            resp = _with_headers(ApiError(resp.status, resp.reason, close=True).response())
        finish = super().finish_response(request, resp, start_time)
        return _free_body(finish) if body_size(resp) > self._factory.unsent.small else finish

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


async def _free_body(
    finish: Coroutine[Any, Any, tuple[web.StreamResponse, bool]],
) -> tuple[web.StreamResponse, bool]:
    """Write a large response, and free its body, which aiohttp keeps until the next request."""
    resp, is_lost = await finish
    if isinstance(resp, web.Response):
        resp.body = None
    return resp, is_lost


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _header_limit(config: Config) -> int:
    """Return a limit other than that of the request line: it tells the two errors apart."""
    limit = config.max_header_bytes
    return limit + 1 if limit == config.max_url_bytes else limit


def _http_error(status: int, exc: BaseException | None, config: Config) -> ApiError:
    if isinstance(exc, LineTooLong):
        if exc.args[1] == config.max_url_bytes:
            return ApiError(414, "Request line is too long", close=True)
        return ApiError(431, "Header is too long", close=True)
    # aiohttp has no error class for too many headers, only this text.
    if isinstance(exc, BadHttpMessage) and exc.message.startswith("Too many"):
        return ApiError(431, "Too many headers", close=True)
    if status < 500:
        return ApiError(status, "Malformed HTTP request", close=True)
    return ApiError(status, "Internal server error", close=True)


def _with_headers(response: web.Response) -> web.Response:
    # These responses do not pass the middleware, which sets these headers elsewhere.
    response.headers.update({"X-Request-Id": secrets.token_hex(8), "Server": SERVER})
    return response
