"""Peers that write or read slowly, and the time limits for them."""

import asyncio
import socket
from urllib.parse import urlsplit

from tokenplace_harness.inside import inside
from tokenplace_harness.sockets import (
    POLL,
    connected,
    holds,
    http,
    polling,
    read_all,
    read_answer,
    send,
    submit_now,
)
from tokenplace_harness.wait import eventually


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
