"""A bare HTTP/1.1 client for load: one connection, one call at a time, little work per call.

A full client would cost more than the server that is measured.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Self, cast

import msgspec

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Wire(asyncio.Protocol):
    """One kept-alive connection; `calls` counts what was answered."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self.calls = 0

    @classmethod
    async def connect(cls, host: str, port: int, source: str = "127.0.0.1") -> Self:
        """Connect from an address of this machine; each has ports of its own."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, host, port, local_addr=(source, 0))
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        start = head.find(_LENGTH) + len(_LENGTH)
        size = int(head[start:].split(b"\r\n", 1)[0]) if start >= len(_LENGTH) else 0
        if len(self._buffer) < end + len(_END) + size:
            return
        body = bytes(self._buffer[end + len(_END) : end + len(_END) + size])
        self._buffer.clear()
        self.calls += 1
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        """Pass the result to the waiting caller."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    async def send(self, raw: bytes) -> tuple[int, bytes]:
        """Send a whole request; status and body of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._answer

    async def post(self, path: str, body: Mapping[str, Any], prefer: str = "") -> tuple[int, Any]:
        """Send a JSON object; status and JSON of the answer."""
        status, answer = await self.send(post(path, body, prefer))
        return status, msgspec.json.decode(answer)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n".encode()


def post(path: str, body: Mapping[str, Any], prefer: str = "") -> bytes:
    """A POST request with a JSON object."""
    content = msgspec.json.encode(body)
    extra = f"Prefer: {prefer}\r\n" if prefer else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n{extra}"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
