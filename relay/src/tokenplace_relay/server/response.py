"""JSON over HTTP: reading bounded bodies, writing answers, and the one shape of an error.

An error is `{"error": {"message", "code", ...}}`; `code` repeats the HTTP status unless peers
match on a word (token.place relay.py).
"""

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

import msgspec
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import _serialize_headers
from multidict import CIMultiDict

JsonObject = dict[str, Any]
_encoder: Final = msgspec.json.Encoder(order="sorted")
_decoder: Final = msgspec.json.Decoder()
_TYPE: Final = "application/json"
_JSON: Final = CIMultiDict({hdrs.CONTENT_TYPE: _TYPE})
SERVER: Final = "tokenplace-relay"
"""What the relay calls itself; its versions are nobody's business."""


class ApiError(Exception):
    """An answer that is an error: status, code, message, extra fields and Retry-After seconds."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | int | None = None,
        *,
        retry_after: int | None = None,
        extra: JsonObject | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: JsonObject = {
            "error": {"message": message, "code": status if code is None else code, **(extra or {})}
        }
        self.retry_after = retry_after
        self.close = close

    def response(self) -> web.Response:
        """Return the answer this error stands for."""
        answer = json_response(self.body, self.status)
        if self.retry_after is not None:
            answer.headers["Retry-After"] = str(self.retry_after)
        if self.close:
            answer.force_close()
        return answer


def json_response(body: JsonObject, status: int = 200) -> web.Response:
    """Return compact JSON with sorted keys and a final newline."""
    return Answer(_encoder.encode(body) + b"\n", status)


class Answer(web.Response):
    """An answer whose body is there as a whole; its head and body are written in one step.

    aiohttp makes a head in many, for what this never is: chunked, compressed, or with cookies. A
    peer that is not usual is answered by aiohttp.
    """

    _is_written = False

    def __init__(self, body: bytes, status: int) -> None:
        # Not that of web.Response: it makes bytes and headers of all that one may give it.
        web.StreamResponse.__init__(self, status=status, headers=_JSON)
        self._body = body

    @property
    def prepared(self) -> bool:
        """Whether it was written, or has begun to be."""
        return self._is_written or super().prepared

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open after it."""
        return self._is_written or super().keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it; what waits for a slow peer waits here."""
        if self._is_written:
            return None
        body = self._body
        if not (isinstance(body, bytes) and self._keep_alive is None and _is_usual(request)):
            return await super().prepare(request)
        transport, writer, headers = request.transport, request.writer, self._headers
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        headers[hdrs.DATE] = _date(int(time.time()))
        head = _serialize_headers(f"HTTP/1.1 {self._status} {self._reason}", headers)
        self._is_written = True
        transport.writelines((head, body))
        writer.output_size += len(head) + len(body)
        if request.protocol.writing_paused:
            await writer.drain()
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """End it, where it was not written at once."""
        if not self._is_written:
            await super().write_eof(data)


def _is_usual(request: web.BaseRequest) -> bool:
    return request.version == HttpVersion11 and request.keep_alive and request.method != "HEAD"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The head's line of all answers of one second."""
    return formatdate(second, usegmt=True)


class Reading:
    """Bodies being received at one time, all together; small ones have as much room again."""

    def __init__(self, limit: int, small: int) -> None:
        self._limit = limit
        self._small = small
        self.held = 0

    def add(self, size: int, whole: int) -> None:
        """Count a piece of a body that now has `whole` bytes; raises ApiError 503."""
        self.held += size
        if self.held > (self._limit if whole > self._small else 2 * self._limit):
            text = "This relay is receiving too much at once"
            raise ApiError(503, text, "relay_full", retry_after=5, close=True)

    async def receive(self, content: StreamReader, limit: int, seconds: float) -> bytes:
        """Return the whole body; raises ApiError 413 past `limit` bytes, 503, and TimeoutError."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(seconds):
                async for part in content.iter_any():
                    size += len(part)
                    self.add(len(part), size)
                    if size > limit:
                        raise too_large(limit)
                    parts.append(part)
        finally:
            self.held -= size
        return b"".join(parts)


class Unsent:
    """Bytes of answers that peers did not read on yet, all together; small ones always may go."""

    __slots__ = ("fresh", "held", "limit", "small")

    def __init__(self, limit: int, small: int) -> None:
        self.limit = limit
        self.small = small
        self.held = 0
        """What the system did not take."""
        self.fresh = 0
        """Of large answers of this turn of the loop, which nobody offered to the system yet."""

    @property
    def is_full(self) -> bool:
        """Whether no large answer may be added."""
        return self.held + self.fresh >= self.limit

    def check(self, size: int) -> None:
        """Raise ApiError 503 for an answer of so many bytes that must not be added."""
        if size > self.small and self.is_full:
            text = "This relay is sending too much at once"
            raise ApiError(503, text, "relay_full", retry_after=5)


def weight(response: web.StreamResponse) -> int:
    """The bytes of an answer's body that the answer itself holds."""
    # isinstance is slow for classes of aiohttp's answers, which are abstract.
    body = getattr(response, "body", None)
    return len(body) if isinstance(body, bytes) else 0


def decode_object(raw: bytes) -> JsonObject:
    """Return the JSON object of a body; raises ApiError 400."""
    try:
        body = _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "Request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Invalid request data")
    return body


async def read_body(request: web.Request, limit: int, seconds: float, reading: Reading) -> bytes:
    """Return the body of a call with JSON.

    Raises ApiError: 415 for another content type or encoding, 413 past `limit` bytes, 408 when the
    body takes longer than `seconds`, 503 when too much is received at once, 400 when it is broken.
    """
    headers = request.headers
    # Most send the bare type, which needs no parser.
    if headers.get(hdrs.CONTENT_TYPE) != _TYPE and request.content_type != _TYPE:
        raise ApiError(415, "Content-Type must be application/json")
    if headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise ApiError(415, "Content-Encoding must be identity")
    size = request.content_length
    if (size or 0) > limit:
        raise too_large(limit)
    try:
        if request.content.is_eof() and size is not None:
            # All of it came with the head: there is nothing to wait for, nor to count.
            return request.content.read_nowait()
        return await reading.receive(request.content, limit, seconds)
    except TimeoutError:
        raise ApiError(408, "Request body took too long", close=True) from None
    except web.RequestPayloadError:
        raise ApiError(400, "Request body is broken", close=True) from None


def too_large(limit: int) -> ApiError:
    """Return the error for a body of more than `limit` bytes."""
    return ApiError(413, f"Request body is larger than {limit} bytes", close=True)
