"""The facade where calls meet, where keys are useless, and what it keeps afterwards."""

import asyncio
import base64
import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from tokenplace_harness.inside import MODEL, NODE, TOKEN, Inside, inside
from tokenplace_harness.peers import serving_node
from tokenplace_harness.wait import eventually
from tokenplace_relay.facade.facade import FACADE, Facade, _Request
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity, Inner, Padding, Sealed
from tokenplace_relay.state.digests import digest, secret_digest
from tokenplace_relay.state.results import Proof, Stage

CHAT = "/v1/chat/completions"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


def public_key(bits: int) -> str:
    """A public key of this length, without a private key."""
    modulus = secrets.randbits(bits) | 1 << (bits - 1) | 1
    pem = (
        RSAPublicNumbers(65537, modulus)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(pem).decode()


def facade_of(relay: Inside) -> Facade:
    return relay.runner.app[FACADE]


async def test_first_calls_at_one_time_share_one_key() -> None:
    async with inside(facade=True, public_rate="off") as relay:
        answers = await asyncio.gather(*(relay.call("GET", "/v1/public-key") for _ in range(6)))
        answers.append(await relay.call("GET", "/v1/public-key"))
    assert len({one.body["public_key"] for one in answers}) == 1


async def test_rotation_during_the_first_call_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: asyncio.Future[Identity] = asyncio.get_running_loop().create_future()
    taking: list[int] = []
    first, new = (Identity(None, name) for name in ("first", "new"))  # type: ignore[arg-type]

    def take() -> asyncio.Future[Identity]:
        taking.append(1)
        return slow

    async with inside(facade=True) as relay:
        facade = facade_of(relay)
        monkeypatch.setattr(facade.keys, "take", take)
        asking = asyncio.create_task(facade.public_identity())
        await eventually(lambda: bool(taking))
        monkeypatch.setattr(facade.keys, "take", lambda: asyncio.sleep(0, new))
        assert await facade.rotate() is new
        slow.set_result(first)
        assert await asking is new
        assert await facade.public_identity() is new


async def test_no_key_pair_is_made_for_a_call_without_a_node() -> None:
    async with inside(facade=True) as relay:
        answer = await relay.call("POST", CHAT, HELLO)
        assert (answer.status, answer.error["code"]) == (503, "no_registered_compute_nodes")
        assert facade_of(relay).keys._task is None


async def test_nothing_of_an_answer_is_kept() -> None:
    async with inside(facade=True, real_time=True) as relay, serving_node(relay.url):
        answer = await relay.call("POST", CHAT, HELLO)
        assert answer.status == 200, answer.body
        totals = await relay.state.totals()
        assert totals.answer_bytes == totals.pending == 0


async def test_answer_that_comes_when_the_caller_has_left() -> None:
    """In the same turn of the loop: no caller will read it, so nothing waits for that."""
    async with inside(facade=True) as relay:
        await relay.register()
        mine, state = _Request(digest("c"), "r1", TOKEN), relay.state
        token = secret_digest(TOKEN)
        await state.submit(mine.client, mine.id, NODE, {}, size=1, cancel_token=token, reader=token)
        await relay.poll()
        proof = Proof(secret_digest(relay.credentials[NODE]))
        await state.answer(mine.client, mine.id, {}, 5, proof)
        assert (await state.totals()).pending == 1
        await facade_of(relay)._withdraw(mine, Stage.CANCELLED, "requester_cancelled")
        totals = await state.totals()
        assert totals.pending == totals.answer_bytes == 0


@pytest.mark.parametrize("bits", [384, 1024, 20_000])
async def test_node_whose_key_cannot_encrypt(bits: int) -> None:
    async with inside(facade=True) as relay:
        assert (await relay.register(public_key(bits))).status == 200
        answer = await relay.call("POST", CHAT, HELLO)
        assert (answer.status, answer.error["code"]) == (503, "compute_node_unreachable")


@pytest.mark.parametrize("bits", [384, 1024, 20_000])
async def test_caller_whose_key_cannot_encrypt(bits: int) -> None:
    """The error comes before a node has worked for it."""
    async with inside(facade=True) as relay:
        body = {**HELLO, "encrypted": True, "client_public_key": public_key(bits), "messages": {}}
        answer = await relay.call("POST", CHAT, body)
        assert (answer.status, answer.error["code"]) == (400, "encryption_error")
        assert "client_public_key" in answer.error["message"]


async def test_key_that_fails_only_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = await asyncio.to_thread(Identity.create)
    real = envelope.seal

    def fails_for_the_caller(inner: Inner, recipient: str, padding: Padding) -> Sealed:
        if recipient == caller.public:
            raise EnvelopeError
        return real(inner, recipient, padding)

    async with inside(facade=True, real_time=True) as relay, serving_node(relay.url):
        key = (await relay.call("GET", "/v1/public-key")).body["public_key"]
        listed: Any = HELLO["messages"]
        sealed = await asyncio.to_thread(real, listed, key)
        monkeypatch.setattr(envelope, "seal", fails_for_the_caller)
        parts = {"ciphertext": sealed.ciphertext, "cipherkey": sealed.cipherkey, "iv": sealed.iv}
        body = {**HELLO, "encrypted": True, "client_public_key": caller.public, "messages": parts}
        answer = await relay.call("POST", CHAT, body)
    assert (answer.status, answer.error["code"]) == (400, "encryption_error")
