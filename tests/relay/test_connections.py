"""Peers that hang up, stall or never finish, in each state of a request; through plain sockets."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from tokenplace_harness.inside import NODE, RELAY, Inside, Json, inside
from tokenplace_harness.wait import eventually

LEAVES = ["close", "reset", "half"]
"""How a peer goes: orderly, with a reset, or closing only its own direction."""


def http(path: str, body: Json) -> bytes:
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
    await asyncio.get_running_loop().sock_sendall(plain, data)


async def read_all(plain: socket.socket) -> bytes:
    """Everything until the relay closes."""
    found, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(30):
        while True:
            try:
                part = await loop.sock_recv(plain, 65536)
            except ConnectionResetError:
                return found
            if not part:
                return found
            found += part


async def read_answer(plain: socket.socket) -> Json:
    """One answer on a connection that stays open."""
    return (await read_head_and_answer(plain))[1]


async def read_head_and_answer(plain: socket.socket) -> tuple[dict[str, str], Json]:
    """The head of an answer, by names in lower case, and its JSON."""
    found, loop = b"", asyncio.get_running_loop()
    async with asyncio.timeout(30):
        while True:
            found += await loop.sock_recv(plain, 65536)
            head, end, body = found.partition(b"\r\n\r\n")
            if end and len(body) >= int(head.lower().split(b"content-length:")[1].split()[0]):
                lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
                return {name.lower(): value for name, _, value in lines}, json.loads(body)


def leave(plain: socket.socket, how: str) -> None:
    if how == "half":
        plain.shutdown(socket.SHUT_WR)
        return
    if how == "reset":
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


async def holds(relay: Inside, number: int) -> None:
    await eventually(lambda: relay.state.held_polls == number)


@asynccontextmanager
async def polling(**settings: float) -> AsyncIterator[Inside]:
    """A relay that holds polls, with a node that is registered."""
    values: Json = settings
    async with inside(real_time=True, poll_wait=20.0, **values) as relay:
        await relay.register()
        yield relay


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


async def submit_now(relay: Inside, name: str) -> None:
    """Hand a request in within this very turn of the loop."""
    envelope = {"client_public_key": "c", "chat_history": "x", "request_id": name}
    await relay.state.submit(b"client", name, NODE, envelope, size=9, cancel_token=b"", reader=b"")


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


async def test_head_that_never_ends_is_cut_off() -> None:
    async with inside(real_time=True, header_timeout=0.3) as relay:
        async with connected(relay) as slow:
            await send(slow, b"GET /livez HTTP/1.1\r\nX-Slow: ")
            assert await read_all(slow) == b""
        async with connected(relay) as silent:
            assert await read_all(silent) == b""


async def test_next_head_on_a_kept_connection_is_cut_off_too() -> None:
    async with inside(real_time=True, header_timeout=0.3) as relay, connected(relay) as slow:
        await send(slow, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await read_answer(slow) == {"status": "alive"}
        await asyncio.sleep(0.6)
        await send(slow, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await read_answer(slow) == {"status": "alive"}, "idle is allowed"
        await send(slow, b"GET /li")
        assert await read_all(slow) == b""


async def test_half_a_head_that_comes_with_the_connection_is_cut_off() -> None:
    """Its bytes are there before the relay waits for them."""
    async with inside(real_time=True, header_timeout=0.3) as relay:
        parts = urlsplit(relay.url)
        with socket.create_connection((str(parts.hostname), parts.port)) as eager:
            eager.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
            eager.setblocking(False)
            assert await read_all(eager) == b""


async def test_half_a_head_behind_a_request_is_cut_off() -> None:
    """Behind a whole one in the same bytes, and behind a poll that is held."""
    head = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
    async with polling(header_timeout=0.3) as relay:
        async with connected(relay) as slow:
            await send(slow, head + b"\r\n" + head)
            assert (await read_all(slow)).endswith(b'"alive"}\n')
        async with connected(relay) as poller:
            await send(poller, POLL)
            await holds(relay, 1)
            await send(poller, head)
            await submit_now(relay, "r1")
            assert b'"r1"' in await read_all(poller)


async def test_idle_connection_is_closed() -> None:
    async with inside(real_time=True, keepalive_timeout=0.3) as relay, connected(relay) as idle:
        await send(idle, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await read_answer(idle) == {"status": "alive"}
        assert await read_all(idle) == b""


async def test_hold_is_longer_than_a_head_may_take() -> None:
    async with polling(header_timeout=0.2) as relay, connected(relay) as poller:
        await send(poller, POLL)
        await holds(relay, 1)
        await asyncio.sleep(0.6)
        await submit_now(relay, "r1")
        assert (await read_answer(poller))["request_id"] == "r1"


async def test_reader_that_does_not_read_is_cut_off() -> None:
    """An answer that fills every buffer, and a client that leaves it there."""
    async with polling(write_timeout=0.5) as relay, connected(relay) as stalled:
        await relay.submit()
        await relay.poll()
        await relay.respond(ciphertext="x" * (3 * 1024 * 1024))
        body = {"client_public_key": "client-key", "request_id": "r1"}
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(3):
            await send(stalled, http("responses/retrieve", body))
        server = relay.runner.server
        assert server is not None
        others = len(server.connections) - 1
        await eventually(lambda: len(server.connections) == others)
        assert (await relay.retrieve()).status == 200


async def test_slow_reader_that_goes_on_gets_everything() -> None:
    async with polling(write_timeout=5.0) as relay, connected(relay) as slow:
        await relay.submit()
        await relay.poll()
        await relay.respond(ciphertext="x" * 1_000_000)
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        body = {"client_public_key": "client-key", "request_id": "r1"}
        await send(slow, http("responses/retrieve", body))
        await asyncio.sleep(0.3)
        assert (await read_answer(slow))["chat_history"] == "x" * 1_000_000


async def test_writer_of_single_bytes_is_served() -> None:
    async with inside(real_time=True) as relay, connected(relay) as slow:
        for byte in b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n":
            await send(slow, bytes([byte]))
        assert await read_answer(slow) == {"status": "alive"}


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
