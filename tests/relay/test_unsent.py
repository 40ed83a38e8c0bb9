"""Answers that peers do not read: how much waits in all, and how long."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

from tokenplace_harness.inside import OTHER_CLIENT, Inside, inside
from tokenplace_harness.wait import eventually
from tokenplace_relay.server.connection import Connection

MIB = 1024 * 1024
ASK = b'{"client_public_key":"client-key","request_id":"r1"}'
HEAD = (
    b"POST /api/v1/relay/responses/retrieve HTTP/1.1\r\nHost: a\r\n"
    b"Content-Type: application/json\r\n"
)


@asynccontextmanager
async def answered(size: int, **settings: float) -> AsyncIterator[Inside]:
    """A relay with an answer of this size, and a small one for another client."""
    async with inside(real_time=True, **settings) as relay:
        await relay.register()
        for client, text in (("client-key", "x" * size), (OTHER_CLIENT, "small")):
            await relay.submit(client=client)
            await relay.poll()
            await relay.respond(client=client, ciphertext=text)
        yield relay


@asynccontextmanager
async def stalled(relay: Inside) -> AsyncIterator[tuple[socket.socket, Connection]]:
    """A peer that asked for the large answer and does not read it, and its connection."""
    parts = urlsplit(relay.url)
    server = relay.runner.server
    assert server is not None
    known = set(server.connections)
    with socket.socket() as plain:
        plain.setblocking(False)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 200_000)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plain, (str(parts.hostname), parts.port))
        await loop.sock_sendall(plain, HEAD + b"Content-Length: %d\r\n\r\n" % len(ASK) + ASK)
        held = relay.context.unsent.held
        await eventually(lambda: relay.context.unsent.held > held)
        (one,) = set(server.connections) - known
        yield plain, cast("Connection", one)


async def test_large_answers_are_refused_past_the_bound_and_small_ones_are_not() -> None:
    async with answered(4 * MIB - 1000, max_unsent_bytes=MIB) as relay:
        async with stalled(relay):
            refused = await relay.retrieve()
            assert (refused.status, refused.error["code"]) == (503, "relay_full")
            assert int(refused.headers["Retry-After"]) > 0
            assert (await relay.retrieve(client=OTHER_CLIENT)).status == 200
        await eventually(lambda: relay.context.unsent.held == 0)
        assert len((await relay.retrieve()).body["ciphertext"]) == 4 * MIB - 1000


async def test_answers_of_one_turn_count_before_they_leave() -> None:
    async with answered(MIB, max_unsent_bytes=64 * 1024) as relay:
        found = await asyncio.gather(*(relay.retrieve() for _ in range(4)))
        assert {one.status for one in found} <= {200, 503}
        assert relay.context.unsent.fresh == 0


async def test_steady_reader_is_not_cut_off_and_one_that_stops_is() -> None:
    async with answered(4 * MIB - 1000) as relay, stalled(relay) as (plain, connection):
        loop = asyncio.get_running_loop()
        while connection._batched.sent() < connection._goal:
            assert await loop.sock_recv(plain, MIB)
        connection._read_timed_out()
        assert connection.transport is not None
        assert not connection.transport.is_closing()
        connection._read_timed_out()
        await eventually(lambda: relay.context.unsent.held == 0)
        assert connection.transport is None


async def test_body_is_not_kept_with_an_idle_connection() -> None:
    """What aiohttp keeps of its last answer is empty."""
    async with answered(MIB) as relay:
        assert (await relay.retrieve()).status == 200
        server = relay.runner.server
        assert server is not None
        tasks = [one._task_handler for one in server.connections]
        kept = [task.get_stack()[0].f_locals.get("resp") for task in tasks if task is not None]
        assert [one for one in kept if one is not None and one.body] == [], "of large ones"
