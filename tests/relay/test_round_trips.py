"""Whole round trips of our own client and compute node, with real RSA and AES, in both paddings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tokenplace_harness.inside import MODEL, Inside, inside
from tokenplace_relay.peers.client import Client, Form
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Json, RelayConnection, RelayError
from tokenplace_relay.protocol.envelope import Identity, Padding

HELLO = [{"role": "user", "content": "hello, \u4e16\u754c"}]


@pytest.fixture(scope="module")
def identities() -> list[Identity]:
    """Keys take long to make, so they are shared."""
    return [Identity.create() for _ in range(3)]


@asynccontextmanager
async def meeting(
    identities: list[Identity], **settings: float
) -> AsyncIterator[tuple[Inside, ComputeNode, Client]]:
    """A relay, a registered compute node, and a client."""
    values: Json = {"poll_wait": 5.0, **settings}
    async with inside(real_time=True, **values) as relay:
        link = RelayConnection(relay.http, relay.url)
        node = ComputeNode(link, identities[0], (MODEL,))
        await node.register()
        yield relay, node, Client(link, identities[1])


@pytest.mark.parametrize("padding", ["oaep", "pkcs1v15"])
@pytest.mark.parametrize("form", ["chat_history", "ciphertext"])
async def test_round_trip(identities: list[Identity], padding: Padding, form: Form) -> None:
    async with meeting(identities) as (relay, node, client):
        client.padding, client.form = padding, form
        chosen = (await client.select(MODEL))["server_public_key"]
        request_id = await client.send(chosen, MODEL, HELLO)
        await node.serve_one()
        answer = await client.wait_for_answer(request_id)
        assert answer["message"]["content"] == HELLO[0]["content"]
        assert (await relay.state.owed()).requests == 0


async def test_held_retrieve_ends_with_the_opened_answer(identities: list[Identity]) -> None:
    async with meeting(identities) as (_, node, client):
        request_id = await client.send(node.identity.public, MODEL, HELLO)
        waiting = asyncio.create_task(client.retrieve(request_id, wait_seconds=20))
        await node.serve_one()
        answer = await waiting
        assert answer is not None
        assert answer["message"]["role"] == "assistant"


async def test_progress_reaches_the_client_sealed(identities: list[Identity]) -> None:
    async with meeting(identities) as (relay, node, client):
        request_id = await client.send(node.identity.public, MODEL, HELLO)
        work = await node.poll()
        assert work is not None
        assert await node.control(work) == "active"
        for sequence, phase in enumerate(("preparing", "prefill", "generating"), 1):
            await node.publish_progress(work, sequence, phase, generated_tokens=sequence)
            assert await client.retrieve(request_id, wait_seconds=20) is None
        await node.publish_progress(work, 4, "generating", generated_tokens=4)
        await node.publish_progress(work, 5, "generating", generated_tokens=5)
        assert await client.retrieve(request_id) is None
        news = [one["api_v1_progress"] for one in client.progress]
        assert [one["sequence"] for one in news] == [1, 2, 3, 5]
        assert news[-1] == {
            "schema_version": 1, "sequence": 5, "phase": "generating", "total_prompt_tokens": 0,
            "cached_prompt_tokens": 0, "processed_prompt_tokens": 0, "generated_tokens": 5,
            "elapsed_ms": 0,
        }  # fmt: skip
        assert "generating" not in (await relay.state.inspect()).text
        await node.respond(work)
        assert await client.retrieve(request_id) is not None
        with pytest.raises(RelayError) as refusal:
            await node.publish_progress(work, 6, "generating")
        assert refusal.value.status == 410


async def test_cancel_reaches_the_node(identities: list[Identity]) -> None:
    async with meeting(identities) as (_, node, client):
        request_id = await client.send(node.identity.public, MODEL, HELLO)
        work = await node.poll()
        assert work is not None
        assert await node.control(work) == "active"
        for _ in range(2):
            assert (await client.cancel(request_id))["status"] == "cancelled"
        assert await node.control(work) == "cancelled"
        with pytest.raises(RelayError) as late:
            await node.respond(work)
        assert (late.value.status, late.value.code) == (410, "cancelled")
        with pytest.raises(RelayError) as told:
            await client.retrieve(request_id)
        assert (told.value.status, told.value.code) == (410, "cancelled")


async def test_only_the_claiming_node_can_answer_when_it_proves_itself(
    identities: list[Identity],
) -> None:
    async with meeting(identities) as (relay, node, client):
        other = ComputeNode(RelayConnection(relay.http, relay.url), identities[2], (MODEL,))
        await other.register()
        request_id = await client.send(node.identity.public, MODEL, HELLO)
        work = await node.poll()
        assert work is not None
        forged = ComputeNode(other.relay, node.identity, (MODEL,), credential=other.credential)
        forged.sends_credential = True
        with pytest.raises(RelayError) as refusal:
            await forged.respond(work)
        assert refusal.value.status == 403
        await node.respond(work)
        assert await client.retrieve(request_id) is not None


async def test_node_that_shows_no_proof_is_served_like_today(identities: list[Identity]) -> None:
    async with meeting(identities) as (_, node, client):
        node.sends_credential = False
        request_id = await client.send(node.identity.public, MODEL, HELLO)
        await node.serve_one()
        assert await client.retrieve(request_id) is not None


async def test_many_at_once_are_each_answered_with_their_own(identities: list[Identity]) -> None:
    async with meeting(identities) as (relay, node, client):
        texts = [f"message {number}" for number in range(20)]
        sent = [
            await client.send(node.identity.public, MODEL, [{"role": "user", "content": text}])
            for text in texts
        ]
        servers = [asyncio.create_task(_serve(node)) for _ in range(3)]
        answers = await asyncio.gather(*(client.wait_for_answer(one) for one in sent))
        for server in servers:
            server.cancel()
        await asyncio.gather(*servers, return_exceptions=True)
        assert [answer["message"]["content"] for answer in answers] == texts
        assert (await relay.state.totals()).outcomes == {"completed": 20}


async def _serve(node: ComputeNode) -> None:
    while True:
        await node.serve_one()
