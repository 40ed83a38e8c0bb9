"""Answers of one turn of the loop leave together, at its end.

A write wakes the process of the peer, or of the proxy before it; that finds one answer, and sleeps
again. Many answers, one after another, wake it once.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from tokenplace_relay.server.unsent import UnsentBytes

Data = bytes | bytearray | memoryview


class Cork:
    """Knows which connections have something to send; one per loop."""

    __slots__ = ("_loop", "_waiting", "unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, unsent: UnsentBytes) -> None:
        self._loop = loop
        self.unsent = unsent
        self._waiting: list[Corked] = []

    def add(self, transport: "Corked") -> None:
        """Let it send at the end of the turn."""
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append(transport)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport in waiting:
            transport.send()
        self.unsent.fresh = 0


class Corked(asyncio.Transport):
    """A transport that keeps what is written until it may send; all else goes to the real one."""

    __slots__ = ("_cork", "_inner", "_left", "_parts", "_written")

    def __init__(self, inner: asyncio.Transport, cork: Cork) -> None:
        self._inner = inner
        self._cork = cork
        self._parts: list[Data] = []
        self._left = 0
        self._written = 0

    def write(self, data: Data) -> None:
        """Keep it; it must not change any more."""
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """Keep all of it."""
        if not self._parts:
            self._cork.add(self)
        self._parts.extend(list_of_data)

    def send(self) -> None:
        """Hand on what was kept, in its order."""
        parts, self._parts = self._parts, []
        if parts and not self._inner.is_closing():
            self._written += sum(map(len, parts))
            self._inner.writelines(parts)
            unsent = self._cork.unsent
            left = self.recount()
            if left and unsent.held - left > 2 * unsent.limit:
                self.abort()

    def recount(self) -> int:
        """Bytes that the system did not take; counts them among those of all connections."""
        left = self._inner.get_write_buffer_size()
        if left != self._left:
            self._cork.unsent.held += left - self._left
            self._left = left
        return left

    def gone(self) -> int:
        """Bytes that the system took, since the start."""
        return self._written - self.recount()

    def forget(self) -> None:
        """Count nothing any more: the connection is lost, with what it had not sent."""
        self._cork.unsent.held -= self._left
        self._left = 0

    def close(self) -> None:
        """Send, and close when the peer has it."""
        self.send()
        self._inner.close()

    def abort(self) -> None:
        """Close now; what was kept is lost."""
        self._parts.clear()
        self._inner.abort()

    def write_eof(self) -> None:
        """Send, and say that nothing more comes."""
        self.send()
        self._inner.write_eof()

    def can_write_eof(self) -> bool:
        """Whether it can close only the half that sends."""
        return self._inner.can_write_eof()

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""
        return self._inner.is_closing()

    def is_reading(self) -> bool:
        """Whether it takes bytes in."""
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        """Take no bytes in."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes in again."""
        self._inner.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> Any:  # noqa: ANN401 (asyncio's)
        """What the real transport knows."""
        return self._inner.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes that have not left."""
        kept = sum(memoryview(part).nbytes for part in self._parts)
        return kept + self._inner.get_write_buffer_size()
