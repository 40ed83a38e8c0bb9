"""JSON over HTTP: reading bounded bodies, writing answers, and the one shape of an error.

An error is `{"error": {"message", "code", ...}}`; `code` repeats the HTTP status unless peers
match on a word (token.place relay.py).
"""

import time
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

import msgspec
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_writer import _serialize_headers
from multidict import CIMultiDict

JsonObject = dict[str, Any]
_encoder: Final = msgspec.json.Encoder(order="sorted")
JSON_TYPE: Final = "application/json"
_JSON: Final = CIMultiDict({hdrs.CONTENT_TYPE: JSON_TYPE})
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


def body_size(response: web.StreamResponse) -> int:
    """Return the bytes of a response's body, 0 for one that is not held in memory."""
    # isinstance(response, web.Response) is slow: aiohttp's response classes are abstract.
    body = getattr(response, "body", None)
    return len(body) if isinstance(body, bytes) else 0
