"""Everything the relay uses of aiohttp that aiohttp does not document.

No other file of the relay may use these names. `INTERNALS` gives the reason for each of them, and
tests/relay/test_aiohttp_internals.py checks that each still has the shape that is needed. With
RELAY_PLAIN_HTTP the relay runs without this file.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from aiohttp import HttpVersion11, http_writer, web, web_protocol
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import _serialize_headers
from aiohttp.web_protocol import _ErrInfo

from tokenplace_relay.server.response import JSON_HEADERS


@dataclass(frozen=True, slots=True)
class Internal:
    """One undocumented name of aiohttp."""

    owner: object
    """The module or class that has it."""
    name: str
    reason: str


_HANDLER: Final = web.RequestHandler
INTERNALS: Final = (
    Internal(http_writer, "_serialize_headers", "makes a response head in one call"),
    Internal(web_protocol, "_ErrInfo", "marks a queued request that could not be parsed"),
    Internal(web.AppRunner, "_make_server", "is where a runner gets its connection factory"),
    Internal(web.Server, "request_handler", "is the application, which the factory wraps"),
    Internal(web.Server, "request_factory", "makes requests that know their application"),
    Internal(web.Server, "handler_cancellation", "is passed on to the wrapping factory"),
    Internal(
        _HANDLER, "_messages", "queues parsed requests: shows whether one is waiting or malformed"
    ),
    Internal(_HANDLER, "_request_count", "counts the requests that one read completed"),
    Internal(_HANDLER, "_request_in_progress", "is true while a handler runs"),
    Internal(_HANDLER, "_current_request", "is the request whose body may be broken"),
    Internal(_HANDLER, "_lingering_time", "is set to 0 for a body that cannot be read to its end"),
    Internal(_HANDLER, "_reading_paused", "makes resume_reading free when nothing is paused"),
    Internal(_HANDLER, "_buffer_paused", "is true while the parser holds requests back"),
    Internal(_HANDLER, "data_received", "is the hook that sees incoming bytes"),
    Internal(_HANDLER, "resume_reading", "is called after every body, paused or not"),
    Internal(_HANDLER, "handle_error", "makes the response to a malformed request"),
    Internal(_HANDLER, "finish_response", "writes every response"),
    Internal(web.Response, "_body", "is set without the conversions of Response.__init__"),
    Internal(web.Response, "_headers", "is serialized without the steps of prepare()"),
    Internal(web.Response, "_status", "is part of the status line"),
    Internal(web.Response, "_reason", "is part of the status line"),
    Internal(web.Response, "_keep_alive", "is not None when the connection must close"),
)


class OneStepResponse(web.Response):
    """A response with a complete body, whose head and body are written in one step.

    aiohttp prepares a head in many steps, for chunked, compressed and cookie responses, which this
    never is. A request that is not HTTP/1.1 with keep-alive is answered by aiohttp.
    """

    _is_written = False

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str] = JSON_HEADERS) -> None:
        # Response.__init__ checks and converts arguments that are never given here.
        web.StreamResponse.__init__(self, status=status, headers=headers)
        self._body = body

    @property
    def prepared(self) -> bool:
        """Whether the response is written, or its head is."""
        return self._is_written or super().prepared

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open after this response."""
        # aiohttp reads this after each response and closes the connection if it is false. Its own
        # value is set by steps of prepare() that are skipped here.
        return self._is_written or super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write head and body; wait here while the peer reads too slowly."""
        if self._is_written:
            return None
        body = self._body
        # force_close() sets _keep_alive to False, and such a response needs the Connection header
        # that aiohttp adds.
        if not (isinstance(body, bytes) and self._keep_alive is None and _is_usual(request)):
            return await super().prepare(request)
        transport, writer, headers = request.transport, request.writer, self._headers
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        headers["Content-Length"] = str(len(body))
        headers["Date"] = _date(int(time.time()))
        head = _serialize_headers(f"HTTP/1.1 {self._status} {self._reason}", headers)
        self._is_written = True
        # This bypasses aiohttp's writer, whose output_size shows whether a response has started.
        transport.writelines((head, body))
        writer.output_size += len(head) + len(body)
        if request.protocol.writing_paused:
            await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """End the response, unless `prepare` has written all of it."""
        if not self._is_written:
            await super().write_eof(data)


def _is_usual(request: web.BaseRequest) -> bool:
    # HTTP/1.0 needs another status line, and a response to HEAD has no body.
    return request.version == HttpVersion11 and request.keep_alive and request.method != "HEAD"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


class ConnectionInternals(web.RequestHandler):
    """aiohttp's server connection, with readable names for its private state."""

    __slots__ = ()

    def parse(self, data: bytes) -> list[tuple[Any, Any]]:
        """Parse received bytes; return the new requests, each as its head and its body stream."""
        count = self._request_count
        super().data_received(data)
        # Every call of a peer comes through here, so the rare case must cost no call.
        if self._current_request is not None and self._messages:
            self.fail_broken_body(self._current_request)
        count = self._request_count - count
        # A slice from -0 would return the whole queue.
        return list(self._messages)[-count:] if count else []

    @property
    def is_busy(self) -> bool:
        """Whether a request is waiting or being handled."""
        return bool(self._messages) or self._request_in_progress

    @property
    def is_parser_paused(self) -> bool:
        """Whether bytes are kept unparsed because too many requests are waiting."""
        return self._buffer_paused

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading if it is paused; aiohttp calls this after each body, paused or not."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def fail_broken_body(self, request: web.BaseRequest) -> None:
        """Fail the body that a handler is waiting for, if its next part is not HTTP.

        aiohttp would let the handler wait until its timeout.
        """
        if not request.content.is_eof() and isinstance(self._messages[-1][0], _ErrInfo):
            # After the response aiohttp would wait 10 s for the rest of the body, which never
            # comes.
            self._lingering_time = 0
            request.content.set_exception(web.RequestPayloadError("broken"))


class WrappingRunner(web.AppRunner):
    """Runs an application with a connection factory of our own."""

    def __init__(
        self,
        app: web.Application,
        wrap: Callable[[web.Server], web.Server],
        **options: Any,  # noqa: ANN401 (aiohttp has a type for each)
    ) -> None:
        super().__init__(app, **options)
        self._wrap = wrap

    async def _make_server(self) -> web.Server:
        return self._wrap(await super()._make_server())


class WrappingServer(web.Server):
    """A connection factory that takes over the application of another one."""

    def __init__(
        self,
        original: web.Server,
        wrap: Callable[[Callable[[web.BaseRequest], Any]], Callable[[web.BaseRequest], Any]],
    ) -> None:
        super().__init__(
            wrap(original.request_handler),
            request_factory=original.request_factory,
            handler_cancellation=original.handler_cancellation,
        )
