"""Peers that hang up, stall or never finish, in each state of a request; through plain sockets."""

import asyncio
import json
import socket
import struct
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from tokenplace_harness.inside import NODE, RELAY, Inside, inside
from tokenplace_harness.sockets import (
    POLL,
    connected,
    holds,
    http,
    polling,
    read_all,
    read_answer,
    read_head_and_answer,
    send,
    submit_now,
)
from tokenplace_harness.wait import eventually

LEAVES = ["close", "reset", "half"]
"""How a peer goes: orderly, with a reset, or closing only its own direction."""


def leave(plain: socket.socket, how: str) -> None:
    if how == "half":
        plain.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


@pytest.mark.parametrize("how", LEAVES)
async def test_poller_gone_while_it_waits(how: str) -> None:
    async with polling() as relay, connected(relay) as gone:
        await send(gone, POLL)
        await holds(relay, 1)
        leave(gone, how)
        await holds(relay, 0)
        assert (await relay.submit()).status == 200
        assert (await relay.poll()).body["request_id"] == "r1"


@pytest.mark.parametrize("how", LEAVES)
async def test_poller_gone_in_the_moment_of_its_work(how: str) -> None:
    """It hangs up, and before the loop can see that, work comes and is written to it."""
    async with polling() as relay, connected(relay) as gone:
        await send(gone, POLL)
        await holds(relay, 1)
        leave(gone, how)
        await submit_now(relay, "r1")
        await holds(relay, 0)
        assert (await relay.counts())["queued"] == 1, "it went back"
        await submit_now(relay, "r2")
        first, second = await relay.poll(), await relay.poll()
        assert (first.body["request_id"], second.body["request_id"]) == ("r1", "r2")


async def test_pollers_that_left_are_counted() -> None:
    """One while it waits, and one in the moment of its work."""
    async with polling() as relay:
        for has_work in (False, True):
            async with connected(relay) as gone:
                await send(gone, POLL)
                await holds(relay, 1)
                leave(gone, "reset")
                if has_work:
                    await submit_now(relay, "r1")
                await holds(relay, 0)
        content = (await relay.call("GET", "/metrics")).body.decode()
        name = "tokenplace_relay_requests_total{"
        lines = [line for line in content.splitlines() if line.startswith(name) and "499" in line]
        assert [line.rpartition(" ")[2] for line in lines] == ["2.0"], content


async def is_live(relay: Inside) -> bool:
    """Whether the only request is queued or claimed."""
    counts = await relay.counts()
    return counts["queued"] + counts["claimed"] == 1


async def test_work_goes_to_the_other_poll_of_the_node() -> None:
    async with polling() as relay, connected(relay) as gone, connected(relay) as alive:
        await send(gone, POLL)
        await holds(relay, 1)
        await send(alive, POLL)
        await holds(relay, 2)
        leave(gone, "reset")
        await submit_now(relay, "r1")
        assert (await read_answer(alive))["request_id"] == "r1"
        assert (await relay.counts())["claimed"] == 1


async def test_poller_that_closed_is_seen_by_the_reset_that_its_bytes_bring() -> None:
    """The same, if neither the event loop nor a poll of the socket shows the hang-up."""
    async with polling() as relay, connected(relay) as gone:
        await submit_now(relay, "r1")
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await send(gone, POLL)
        gone.close()
        await eventually(lambda: is_live(relay))
        answer = await relay.poll()
        assert answer.body.get("request_id") == "r1"


@pytest.mark.parametrize("how", LEAVES)
async def test_node_gone_before_it_learnt_its_credential(how: str) -> None:
    """It could never send its credential: it is dropped, so that its next call gets a new one."""
    async with inside(real_time=True) as relay, connected(relay) as gone:
        await send(gone, http("servers/register", {"server_public_key": NODE}))
        leave(gone, how)
        await asyncio.sleep(0.1)
        again = await relay.post("servers/register", {"server_public_key": NODE})
        lost = "control_credential" not in again.body
        assert not lost or how == "half", "only a peer that still reads can have got it"


@pytest.mark.parametrize("how", LEAVES)
async def test_client_gone_while_it_submits(how: str) -> None:
    """Half a request is none."""
    async with polling() as relay, connected(relay) as gone:
        await send(gone, http("requests", {"client_public_key": "c"})[:-3])
        await asyncio.sleep(0.05)
        leave(gone, how)
        await eventually(lambda: relay.context.reading.held == 0)
        assert (await relay.counts())["queued"] == 0


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stage", ["queued", "claimed"])
async def test_client_gone_while_its_request_is_in_progress(how: str, stage: str) -> None:
    """Its request goes on: it may come back for the answer from elsewhere."""
    async with polling() as relay, connected(relay) as gone:
        await relay.submit()
        if stage == "claimed":
            await relay.poll()
        wait = http("responses/retrieve", {"client_public_key": "client-key", "request_id": "r1"})
        await send(gone, wait.replace(b"Host:", b"Prefer: wait=20\r\nHost:"))
        await eventually(lambda: relay.state.held_retrieves == 1)
        leave(gone, how)
        await eventually(lambda: relay.state.held_retrieves == 0)
        assert (await relay.counts())[stage] == 1
        assert (await relay.respond()).status == 200
        assert (await relay.retrieve()).status == 200


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_client_gone_before_it_read_its_answer(how: str) -> None:
    """The answer went to a closed socket: it can be read again."""
    async with polling() as relay, connected(relay) as gone:
        await relay.submit()
        await relay.poll()
        await relay.respond()
        body = {"client_public_key": "client-key", "request_id": "r1"}
        await send(gone, http("responses/retrieve", body))
        leave(gone, how)
        assert (await relay.retrieve()).body["ciphertext"] == "sealed"


async def test_node_gone_while_it_answers() -> None:
    async with polling() as relay, connected(relay) as gone:
        await relay.submit()
        await relay.poll()
        answer = {
            "client_public_key": "client-key",
            "request_id": "r1",
            "ciphertext": "x" * 100_000,
        }
        await send(gone, http("responses", answer)[:50_000])
        leave(gone, "reset")
        await eventually(lambda: relay.context.reading.held == 0)
        assert (await relay.counts())["claimed"] == 1
        assert (await relay.respond()).status == 200


async def test_pipelined_calls_are_answered_in_order() -> None:
    async with inside(real_time=True) as relay, connected(relay) as eager:
        last = b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        await send(eager, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" * 5 + last)
        found = await read_all(eager)
        assert found.count(b"200 OK") == 5
        assert found.index(b"404 Not Found") > found.rindex(b"200 OK")


@pytest.mark.parametrize("size", [10, 2_000, 300_000])
async def test_more_pipelined_bodies_than_wait_in_a_row_are_all_read(size: int) -> None:
    body = {"client_public_key": "client", "server_public_key": "nobody", "cipherkey": "k"}
    call = http("requests", {**body, "ciphertext": "c" * size, "iv": "i"})
    last = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    async with inside(real_time=True) as relay, connected(relay) as eager:
        sending = asyncio.create_task(send(eager, call * 100 + last))
        found = await read_all(eager)
        await sending
    assert found.count(b"HTTP/1.1 404 Not Found") == 100
    assert found.count(b"HTTP/1.1 200 OK") == 1


async def test_connection_beyond_the_bound_gets_a_response() -> None:
    async with inside(real_time=True, max_connections=8) as relay:
        assert (await relay.call("GET", "/livez")).status == 200
        opened = []
        try:
            for _ in range(7):
                parts = urlsplit(relay.url)
                plain = socket.create_connection((str(parts.hostname), parts.port))
                opened.append(plain)
            await asyncio.sleep(0.1)
            async with connected(relay) as late:
                head, _, body = (await read_all(late)).partition(b"\r\n\r\n")
                assert b"503 Service Unavailable" in head
                assert b"Retry-After: 5" in head
                assert json.loads(body)["error"]["code"] == "too_many_connections"
        finally:
            for plain in opened:
                plain.close()
        await asyncio.sleep(0.1)
        async with connected(relay) as again:
            await send(again, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await read_answer(again) == {"status": "alive"}


async def test_many_connects_leave_nothing_behind() -> None:
    """10,000 connections come and go: some say nothing, some half a head, some poll and leave."""
    async with polling() as relay:
        gate = asyncio.Semaphore(200)
        starts = (b"", b"GET /li", POLL, POLL[:-5])

        async def visit(number: int) -> None:
            async with gate, connected(relay) as plain:
                await send(plain, starts[number % 4])
                leave(plain, LEAVES[number % 2])

        await asyncio.gather(*(visit(number) for number in range(10_000)))
        server = relay.runner.server
        assert server is not None
        await eventually(lambda: len(server.connections) <= 1)
        assert relay.state.held_polls == 0
        assert relay.context.reading.held == 0
        assert (await relay.call("GET", "/livez")).status == 200
        await relay.submit()
        assert (await relay.poll()).body["request_id"] == "r1"


@pytest.mark.parametrize(
    ("version", "asked", "told", "stays"),
    [
        ("1.1", "", "", True),
        ("1.1", "close", "close", False),
        ("1.0", "", "", False),
        ("1.0", "keep-alive", "keep-alive", True),
    ],
)
async def test_connection_stays_open_as_its_peer_asks(
    version: str, asked: str, told: str, *, stays: bool
) -> None:
    wish = f"Connection: {asked}\r\n" if asked else ""
    ask = f"GET {RELAY}/servers/next HTTP/{version}\r\nHost: relay\r\n{wish}\r\n".encode()
    async with inside() as relay, connected(relay) as plain:
        await send(plain, ask)
        head, error = await read_head_and_answer(plain)
        assert error["error"]["code"] == "no_registered_compute_nodes"
        assert head.get("connection", "") == told
        assert head["server"] == "tokenplace-relay"
        assert len(head["x-request-id"]) == 16
        age = time.time() - parsedate_to_datetime(head["date"]).timestamp()
        assert 0 <= age < 10
        if stays:
            await send(plain, ask)
            assert (await read_head_and_answer(plain))[1] == error
        else:
            assert await read_all(plain) == b""
