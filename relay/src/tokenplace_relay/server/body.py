"""Reads request bodies: bounded per body and in total, and decoded from JSON."""

import asyncio
from typing import Final

import msgspec
from aiohttp import StreamReader, hdrs, web

from tokenplace_relay.server.response import JSON_TYPE, ApiError, JsonObject

_decoder: Final = msgspec.json.Decoder()


class ReceiveBudget:
    """Limits the bytes of all bodies being received; small bodies may use twice the limit."""

    def __init__(self, limit: int, small: int) -> None:
        self._limit = limit
        self._small = small
        self.held = 0

    def add(self, size: int, total: int) -> None:
        """Count `size` more bytes of a body that now has `total` bytes; raises ApiError 503."""
        self.held += size
        # Large bodies that arrive slowly must not keep out the small calls, such as polls.
        if self.held > (self._limit if total > self._small else 2 * self._limit):
            text = "This relay is receiving too much at once"
            raise ApiError(503, text, "relay_full", retry_after=5, close=True)

    async def receive(self, content: StreamReader, limit: int, seconds: float) -> bytes:
        """Return the whole body; raises ApiError 413 past `limit` bytes, 503, and TimeoutError."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(seconds):
                async for part in content.iter_any():
                    # Counted before the checks, so that `finally` releases this part even if a
                    # check raises.
                    size += len(part)
                    self.add(len(part), size)
                    if size > limit:
                        raise _too_large(limit)
                    parts.append(part)
        finally:
            self.held -= size
        return b"".join(parts)


def decode_object(raw: bytes) -> JsonObject:
    """Return the JSON object in a body; raises ApiError 400."""
    try:
        body = _decoder.decode(raw)
    # msgspec raises RecursionError for JSON that is nested too deeply.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "Request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Invalid request data")
    return body


async def read_body(
    request: web.BaseRequest, limit: int, seconds: float, budget: ReceiveBudget
) -> bytes:
    """Return the body of a JSON request.

    Raises ApiError: 415 for another content type or encoding, 413 past `limit` bytes, 408 when the
    body takes longer than `seconds`, 503 when the budget is used up, 400 when the body is broken.
    """
    headers = request.headers
    # request.content_type runs a header parser, which the usual exact value does not need.
    if headers.get(hdrs.CONTENT_TYPE) != JSON_TYPE and request.content_type != JSON_TYPE:
        raise ApiError(415, "Content-Type must be application/json")
    # Bodies are not decompressed, because a small one could unpack to a very large one.
    if headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
        raise ApiError(415, "Content-Encoding must be identity")
    size = request.content_length
    # A chunked body declares no length; it is bounded while it is received.
    if (size or 0) > limit:
        raise _too_large(limit)
    try:
        if request.content.is_eof() and size is not None:
            # The whole body arrived together with the head: no wait, and nothing to count.
            return request.content.read_nowait()
        return await budget.receive(request.content, limit, seconds)
    except TimeoutError:
        raise ApiError(408, "Request body took too long", close=True) from None
    except web.RequestPayloadError:
        raise ApiError(400, "Request body is broken", close=True) from None


def _too_large(limit: int) -> ApiError:
    # To keep the connection, the relay would have to read the rest of the body first.
    return ApiError(413, f"Request body is larger than {limit} bytes", close=True)
