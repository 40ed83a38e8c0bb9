"""Tracks whether the bytes of a connection end within a request's head.

aiohttp's parser does not report whether it holds the start of a head, so this follows the bytes: a
head ends with an empty line, and the body stream has the length of the body.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

_END: Final = b"\r\n\r\n"


class Body(Protocol):
    """The part of aiohttp's StreamReader that is needed."""

    total_bytes: int

    def is_eof(self) -> bool:
        """Whether the body is complete."""


class HeadTracker:
    """Follows the bytes of one connection."""

    __slots__ = ("_body", "_is_chunked", "_received", "_tail")

    def __init__(self) -> None:
        self._body: Body | None = None
        self._is_chunked = False
        self._received = 0
        self._tail = b""
        """The last bytes of an incomplete head: its empty line may be cut in two."""

    def feed(self, data: bytes, parsed: Sequence[tuple[Any, Body]]) -> bool:
        """Take received bytes and the requests parsed from them; return whether a head is open."""
        end: int | None = 0
        if self._body is not None:
            end = self._end_of_body(self._body)
            if end == -1:
                return False
        elif self._tail:
            data = self._tail + data
        for message, body in parsed:
            self._is_chunked = getattr(message, "chunked", False)
            end = None if self._is_chunked else _end_of_request(data, end, body)
        # The rest of a body is not a head: the body timeout bounds it.
        if parsed and not parsed[-1][1].is_eof():
            self._body, self._tail = parsed[-1][1], b""
            self._received = self._body.total_bytes
            return False
        is_in_head = end != len(data) and _has_begun(data, end)
        # The end of a head has 4 bytes, so 3 of them are the most that can have arrived.
        self._tail = data[-3:] if is_in_head else b""
        return is_in_head

    def _end_of_body(self, body: Body) -> int | None:
        """Return where in the new bytes a body ended: -1 if it did not, None if it was chunked."""
        new, self._received = body.total_bytes - self._received, body.total_bytes
        if not body.is_eof():
            return -1
        self._body = None
        return None if self._is_chunked else new


def _end_of_request(data: bytes, begin: int | None, body: Body) -> int | None:
    """Return where the request that begins at `begin` ends, or None if that is unknown."""
    head_end = -1 if begin is None else data.find(_END, begin)
    return None if head_end < 0 else head_end + len(_END) + body.total_bytes


def _has_begun(data: bytes, end: int | None) -> bool:
    """Whether more than empty lines follow the last request, which ended at `end`."""
    if end is None:
        # The end of a chunked body is unknown here. Bytes that end with an empty line, or are part
        # of one, leave no head open.
        return not (data.endswith(_END) or _END.endswith(data))
    # HTTP/1.1 lets a client send empty lines before a request (RFC 9112, section 2.2).
    return bool(data[end:].strip(b"\r\n"))
