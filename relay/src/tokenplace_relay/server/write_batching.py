"""Sends the responses of one turn of the event loop together, at its end.

Each write wakes the process of the peer, or of the proxy before it. Many responses written one
after another wake it once.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from tokenplace_relay.server.unsent import UnsentBytes

Data = bytes | bytearray | memoryview


class WriteBatcher:
    """Flushes the connections that have something to send; one per event loop."""

    __slots__ = ("_loop", "_pending", "unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, unsent: UnsentBytes) -> None:
        self._loop = loop
        self.unsent = unsent
        self._pending: list[BatchedTransport] = []

    def add(self, transport: "BatchedTransport") -> None:
        """Flush this connection at the end of the turn."""
        # call_soon runs the flush after all callbacks that are ready now, so one flush serves them.
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(transport)

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        for transport in pending:
            transport.flush()
        # The bytes that the kernel did not accept are in `held` now.
        self.unsent.fresh = 0


class BatchedTransport(asyncio.Transport):
    """A transport that buffers writes until the end of the turn."""

    __slots__ = ("_batcher", "_inner", "_parts", "_unsent", "_written")

    def __init__(self, inner: asyncio.Transport, batcher: WriteBatcher) -> None:
        self._inner = inner
        self._batcher = batcher
        self._parts: list[Data] = []
        self._unsent = 0
        self._written = 0

    def write(self, data: Data) -> None:
        """Buffer data, which must not change any more."""
        self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """Buffer all parts, which must not change any more."""
        if not self._parts:
            self._batcher.add(self)
        self._parts.extend(list_of_data)

    def flush(self) -> None:
        """Pass the buffered parts on; abort if too many bytes stay unsent."""
        parts, self._parts = self._parts, []
        if parts and not self._inner.is_closing():
            self._written += sum(map(len, parts))
            self._inner.writelines(parts)
            total = self._batcher.unsent
            unsent = self.recount()
            # Others already hold twice the limit, so one more slow reader cannot be afforded.
            if unsent and total.held - unsent > 2 * total.limit:
                self.abort()

    def recount(self) -> int:
        """Return the bytes that the kernel did not take, and update the total with them."""
        # The event loop sends in the background and reports only an empty buffer, so ask for the
        # size.
        unsent = self._inner.get_write_buffer_size()
        if unsent != self._unsent:
            self._batcher.unsent.held += unsent - self._unsent
            self._unsent = unsent
        return unsent

    def sent(self) -> int:
        """Return the bytes that the kernel took since the connection was opened."""
        return self._written - self.recount()

    def release(self) -> None:
        """Remove this connection's bytes from the total; the connection is lost."""
        self._batcher.unsent.held -= self._unsent
        self._unsent = 0

    def close(self) -> None:
        """Flush, and close once the kernel has taken everything."""
        self.flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once and drop what is buffered."""
        self._parts.clear()
        self._inner.abort()

    def write_eof(self) -> None:
        """Flush, and close the sending direction."""
        self.flush()
        self._inner.write_eof()

    def can_write_eof(self) -> bool:
        """Whether the sending direction can be closed alone."""
        return self._inner.can_write_eof()

    def is_closing(self) -> bool:
        """Whether the transport is closed or closing."""
        return self._inner.is_closing()

    def is_reading(self) -> bool:
        """Whether the transport is receiving."""
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        """Stop receiving."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Start receiving again."""
        self._inner.resume_reading()

    def get_extra_info(self, name: str, default: object = None) -> Any:  # noqa: ANN401 (asyncio's)
        """Return extra information of the inner transport, such as its socket."""
        return self._inner.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Return the bytes that are buffered here and in the inner transport."""
        buffered = sum(memoryview(part).nbytes for part in self._parts)
        return buffered + self._inner.get_write_buffer_size()
