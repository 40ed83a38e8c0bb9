"""Plain sockets to a relay, for peers that send incomplete HTTP or hang up."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tokenplace_harness.inside import NODE, RELAY, Inside, Json, inside
from tokenplace_harness.wait import eventually


def http(path: str, body: Json) -> bytes:
    """Return the bytes of a POST to a route below /api/v1/relay."""
    content = json.dumps(body).encode()
    head = f"POST {RELAY}/{path} HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


POLL = http("servers/poll", {"server_public_key": NODE})


@asynccontextmanager
async def connected(relay: Inside) -> AsyncIterator[socket.socket]:
    """A plain socket to the relay."""
    parts = urlsplit(relay.url)
    plain = socket.socket()
    plain.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(plain, (str(parts.hostname), parts.port))
        yield plain
    finally:
        plain.close()


async def send(plain: socket.socket, data: bytes) -> None:
    """Send all of the bytes."""
    await asyncio.get_running_loop().sock_sendall(plain, data)


async def read_all(plain: socket.socket) -> bytes:
    """Return all bytes until the relay closes the connection."""
    received, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(30):
        while True:
            try:
                part = await loop.sock_recv(plain, 65536)
            except ConnectionResetError:
                return received
            if not part:
                return received
            received += part


async def read_answer(plain: socket.socket) -> Json:
    """Return the JSON of one response; the connection stays open."""
    return (await read_head_and_answer(plain))[1]


async def read_head_and_answer(plain: socket.socket) -> tuple[dict[str, str], Json]:
    """Return a response's headers, by names in lower case, and its JSON."""
    received, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(30):
        while True:
            received += await loop.sock_recv(plain, 65536)
            head, end, body = received.partition(b"\r\n\r\n")
            if end and len(body) >= int(head.lower().split(b"content-length:")[1].split()[0]):
                lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
                return {name.lower(): value for name, _, value in lines}, json.loads(body)


async def holds(relay: Inside, number: int) -> None:
    """Wait until the relay holds this number of polls."""
    await eventually(lambda: relay.state.held_polls == number)


@asynccontextmanager
async def polling(**settings: float) -> AsyncIterator[Inside]:
    """A relay that holds polls, with a node that is registered."""
    values: Json = settings
    async with inside(real_time=True, poll_wait=20.0, **values) as relay:
        await relay.register()
        yield relay


async def submit_now(relay: Inside, name: str) -> None:
    """Submit a request without HTTP, so before the event loop sees a hang-up."""
    envelope = {"client_public_key": "c", "chat_history": "x", "request_id": name}
    await relay.state.submit(b"client", name, NODE, envelope, size=9, cancel_token=b"", reader=b"")
