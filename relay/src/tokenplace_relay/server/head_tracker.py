"""Where in its requests a connection stands: within a head, or elsewhere.

The parser of aiohttp does not tell whether it holds the beginning of a head, so its bytes are
followed here: a head ends with an empty line, and its body tells how long it was.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

_END: Final = b"\r\n\r\n"


class Body(Protocol):
    """What a stream of aiohttp tells of a body."""

    total_bytes: int

    def is_eof(self) -> bool:
        """Whether all of it came."""


class Heads:
    """Follows the bytes of one connection."""

    __slots__ = ("_body", "_is_chunked", "_tail", "_taken")

    def __init__(self) -> None:
        self._body: Body | None = None
        self._is_chunked = False
        self._taken = 0
        self._tail = b""
        """The last bytes of a head that is not whole."""

    def step(self, data: bytes, new: Sequence[tuple[Any, Body]]) -> bool:
        """Take what came, and the requests that began in it; whether it ends within a head."""
        end: int | None = 0
        if self._body is not None:
            end = self._after_body(self._body)
            if end == -1:
                return False
        elif self._tail:
            data = self._tail + data
        for message, body in new:
            self._is_chunked = getattr(message, "chunked", False)
            end = None if self._is_chunked else _after(data, end, body)
        if new and not new[-1][1].is_eof():
            self._body, self._taken, self._tail = new[-1][1], new[-1][1].total_bytes, b""
            return False
        is_within = end != len(data) and _is_begun(data, end)
        self._tail = data[-3:] if is_within else b""
        return is_within

    def _after_body(self, body: Body) -> int | None:
        """Where in the new bytes a body ended; -1 when it did not, None when nobody knows."""
        fed, self._taken = body.total_bytes - self._taken, body.total_bytes
        if not body.is_eof():
            return -1
        self._body = None
        return None if self._is_chunked else fed


def _after(data: bytes, begin: int | None, body: Body) -> int | None:
    """Where a request ended that began there; None when that cannot be known."""
    found = -1 if begin is None else data.find(_END, begin)
    return None if found < 0 else found + len(_END) + body.total_bytes


def _is_begun(data: bytes, end: int | None) -> bool:
    """Whether more than empty lines came after the last request."""
    if end is None:
        return not (data.endswith(_END) or _END.endswith(data))
    return bool(data[end:].strip(b"\r\n"))
