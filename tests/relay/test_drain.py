"""The end of a relay as a process: the order of a drain, its limit, and nothing lost under load."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import pytest

from tokenplace_harness.process import RelayProcess, relay_process
from tokenplace_harness.wait import eventually
from tokenplace_relay.peers.client import Client
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import RelayConnection, RelayError
from tokenplace_relay.protocol.envelope import Identity
from tokenplace_relay.state.selection import DEFAULT_MODEL

RUNS, NODES, CLIENTS = 20, 4, 8
ASKED = [{"role": "user", "content": "are you there?"}]


@pytest.fixture(scope="module")
def identities() -> list[Identity]:
    """Key pairs for all peers of this file; making one takes a tenth of a second."""
    return [Identity.create() for _ in range(NODES + CLIENTS)]


@contextmanager
def relay_that_drains(delay: float, timeout: float) -> Iterator[RelayProcess]:
    with relay_process(
        RELAY_DRAIN_DELAY_SECONDS=str(delay),
        RELAY_DRAIN_TIMEOUT_SECONDS=str(timeout),
        API_RATE_LIMIT="1000000/hour",
        API_DAILY_QUOTA="1000000/day",
    ) as relay:
        yield relay


@asynccontextmanager
async def connected(relay: RelayProcess) -> AsyncIterator[RelayConnection]:
    async with aiohttp.ClientSession() as session:
        yield RelayConnection(session, relay.url)


async def health(relay: RelayProcess) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{relay.url}/healthz") as answer:
        return answer.status, (await answer.json())["status"]


async def claimed_work(
    connection: RelayConnection, identities: list[Identity]
) -> tuple[ComputeNode, Client, str, dict[str, object]]:
    """A node that has claimed a request of a client."""
    node = ComputeNode(connection, identities[0], (DEFAULT_MODEL,))
    client = Client(connection, identities[1])
    await node.register()
    request_id = await client.send(node.identity.public, DEFAULT_MODEL, ASKED)
    work = await node.poll()
    assert work is not None
    return node, client, request_id, work


async def refusal(call: asyncio.Future[object]) -> RelayError:
    with pytest.raises(RelayError) as caught:
        await call
    return caught.value


async def test_a_drain_keeps_its_order(identities: list[Identity]) -> None:
    with relay_that_drains(delay=2, timeout=30) as relay:
        async with connected(relay) as connection:
            node, client, request_id, work = await claimed_work(connection, identities)
            held = asyncio.create_task(node.poll())
            relay.terminate()

            # Readiness is red, and everything is still served.
            assert await eventually(lambda: is_red(relay)) == (503, "draining")
            await node.register()
            busy = await refusal(asyncio.ensure_future(client.select(DEFAULT_MODEL)))
            assert busy.code == "no_available_capacity"

            # Held polls are released, and new requests are rejected.
            assert await held is None
            calls = {
                "register": node.register(),
                "select": client.select(DEFAULT_MODEL),
                "send": client.send(node.identity.public, DEFAULT_MODEL, ASKED),
            }
            for name, call in calls.items():
                error = await refusal(asyncio.ensure_future(call))
                assert (error.status, error.code) == (503, "draining"), name

            # What was accepted is still answered and read; then the process ends.
            assert await node.control(work) == "active"
            await node.respond(work)
            assert relay.process.poll() is None
            answer = await client.wait_for_answer(request_id)
            assert answer["message"]["content"] == "are you there?"
        assert await asyncio.to_thread(relay.wait) == 0
        assert [line["complete"] for line in relay.events("draining: closing")] == [True]


async def is_red(relay: RelayProcess) -> tuple[int, str] | None:
    seen = await health(relay)
    return seen if seen[0] == 503 else None


async def test_a_refusal_in_a_drain_has_a_retry_after(identities: list[Identity]) -> None:
    with relay_that_drains(delay=0, timeout=30) as relay:
        async with connected(relay) as connection, aiohttp.ClientSession() as session:
            await claimed_work(connection, identities)
            relay.terminate()
            await eventually(lambda: is_red(relay))
            url = f"{relay.url}/api/v1/relay/servers/next"
            async with session.get(url) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


async def test_a_drain_ends_at_its_timeout(identities: list[Identity]) -> None:
    with relay_that_drains(delay=0, timeout=1) as relay:
        async with connected(relay) as connection:
            await claimed_work(connection, identities)
            relay.terminate()
            assert await asyncio.to_thread(relay.wait) == 0
        assert [line["complete"] for line in relay.events("draining: closing")] == [False]


async def test_a_second_sigterm_ends_at_once(identities: list[Identity]) -> None:
    with relay_that_drains(delay=600, timeout=600) as relay:
        async with connected(relay) as connection:
            await claimed_work(connection, identities)
            relay.terminate()
            await eventually(lambda: is_red(relay))
            relay.terminate()
            assert await asyncio.to_thread(relay.wait) == 128 + signal.SIGTERM


@pytest.mark.timeout(180)
async def test_nothing_accepted_is_lost_under_load(identities: list[Identity]) -> None:
    """Clients and nodes run; SIGTERM comes at a random time."""
    moments = random.Random(20261124)
    accepted = 0
    for _ in range(RUNS):
        with relay_that_drains(delay=0.2, timeout=30) as relay:
            accepted += await drained_under_load(relay, identities, moments.uniform(0.05, 0.4))
            assert await asyncio.to_thread(relay.wait) == 0
            assert [line["complete"] for line in relay.events("draining: closing")] == [True]
    assert accepted > RUNS * CLIENTS


async def drained_under_load(
    relay: RelayProcess, identities: list[Identity], seconds: float
) -> int:
    """Let peers work, drain after these seconds, and return how many requests were accepted."""
    read: list[str] = []
    async with connected(relay) as connection:
        nodes = [ComputeNode(connection, one, (DEFAULT_MODEL,)) for one in identities[:NODES]]
        for node in nodes:
            await node.register()
        serving = [asyncio.create_task(serve(node)) for node in nodes]
        clients = [Client(connection, one) for one in identities[NODES:]]
        asking = [asyncio.create_task(ask_until_refused(one, read)) for one in clients]
        await eventually(lambda: len(read) > 0)
        await asyncio.sleep(seconds)
        relay.terminate()
        counts = await asyncio.gather(*asking)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
    assert len(read) == sum(counts)
    return sum(counts)


async def serve(node: ComputeNode) -> None:
    """Answer what is claimed until the relay is gone."""
    while True:
        try:
            await node.serve_one()
        except aiohttp.ClientError:
            return


async def ask_until_refused(client: Client, read: list[str]) -> int:
    """Send and read, one request after the other, until nothing more is taken.

    Returns how many were accepted; an accepted request that is not answered fails by its error.
    """
    accepted = 0
    while True:
        try:
            node = (await client.select(DEFAULT_MODEL))["server_public_key"]
            request_id = await client.send(node, DEFAULT_MODEL, ASKED)
        except RelayError as error:
            if error.code == "no_available_capacity":
                await asyncio.sleep(0.01)
                continue
            assert error.code == "draining", error  # noqa: PT017 (the loop goes on after others)
            return accepted
        except aiohttp.ClientConnectionError:
            return accepted
        accepted += 1
        answer = await client.wait_for_answer(request_id)
        assert answer["message"]["content"] == "are you there?"
        read.append(request_id)
