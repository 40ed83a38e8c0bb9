"""The facade: a client of this relay inside this relay, for callers of OpenAI's API.

It selects, encrypts, submits and waits like any other client, on the same state with the same
bounds. The messages are plaintext in this process: see docs/security.md.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from aiohttp import web

from tokenplace_relay.api.app_context import Context
from tokenplace_relay.api.delivery import shielded
from tokenplace_relay.facade import errors
from tokenplace_relay.facade.completions import Completion
from tokenplace_relay.facade.keys import Keys
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity, Inner, Sealed
from tokenplace_relay.server.response import JsonObject
from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.digests import Key, digest, secret_digest
from tokenplace_relay.state.errors import StateError, UnknownRequest, WrongProof
from tokenplace_relay.state.results import Stage
from tokenplace_relay.state.selection import resolve_model
from tokenplace_relay.telemetry.logs import fingerprint, get

log = get("tokenplace.relay.facade")
T = TypeVar("T")

TIER: Final = next(iter(TIERS))


@dataclass(frozen=True, slots=True)
class _Request:
    """Identifies a request of the facade in the state."""

    client: Key
    id: str
    token: str = field(repr=False)
    """Proves the right to cancel it and to read its answer; it is not sent to nodes."""


@dataclass(slots=True)
class Facade:
    """The relay's own client, and the key pair that encrypted callers seal to."""

    context: Context
    keys: Keys
    identity: Identity | None = None
    busy: int = 0
    _first: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Waiters while the first key pair is waited for, so that one is enough for all who ask."""

    async def public_identity(self) -> Identity:
        """The key pair of this process; waits for it the first time."""
        async with self._first:
            if self.identity is None:
                pair = await self.keys.take()
                # A rotation during the wait has published another pair, which must stay.
                self.identity = self.identity or pair
            return self.identity

    async def rotate(self) -> Identity:
        """Replace the key pair; messages encrypted to the old one cannot be decrypted any more."""
        self.identity = await self.keys.take()
        return self.identity

    async def open(self, identity: Identity, sealed: Sealed, kind: type[T]) -> T:
        """Decrypt a message to one of our key pairs; raises EnvelopeError."""
        most = self.context.config.max_body_bytes
        return await self.keys.run(partial(identity.open_as, sealed, kind, most))

    async def ask(self, completion: Completion) -> JsonObject:
        """Send a request to a compute node; return its `api_v1_response`, raise ApiError."""
        self.context.refuse_when_draining()
        if self.busy >= self.context.config.facade_max_requests:
            raise errors.relay_full("This relay answers as many requests as it may", "facade_full")
        # Counted before the first await, so that calls of one moment cannot all pass the bound.
        self.busy += 1
        try:
            return await self._exchange(completion)
        finally:
            self.busy -= 1

    async def _exchange(self, completion: Completion) -> JsonObject:
        model = resolve_model(completion.model)
        # Before the key pair, which takes 100 ms of CPU: too much for a call without a node.
        node = await self._select(model)
        identity = await self.keys.take()
        request_id = f"api-v1-{secrets.token_hex(16)}"
        inner = envelope.request(request_id, identity.public, model, [])
        inner["api_v1_request"].update(
            messages=completion.messages, options=completion.options, routing={"context_tier": TIER}
        )
        sealed = await self._sealed(inner, node)
        answer = await self._answered(identity, request_id, node, sealed)
        return _checked(await self._opened(answer, identity, request_id))

    async def _select(self, model: str) -> str:
        """The key of a compute node; raises ApiError."""
        try:
            choice = await self.context.state.select(model, TIER)
        except StateError as error:
            raise errors.answer(error) from None
        if choice.selected is not None:
            return choice.selected.key
        if choice.full:
            text = "Every compute node that serves this model is busy"
            raise errors.relay_full(text, "no_available_capacity", 2)
        text = "No registered compute nodes are available on this relay."
        raise errors.relay_full(text, "no_registered_compute_nodes")

    async def _sealed(self, inner: Inner, node: str) -> Sealed:
        try:
            # token.place's own facade uses this padding too, and nodes accept it next to OAEP.
            return await self.keys.run(partial(envelope.seal, inner, node, "pkcs1v15"))
        except EnvelopeError:
            raise errors.unreachable() from None

    async def _answered(
        self, identity: Identity, request_id: str, node: str, sealed: Sealed
    ) -> Sealed:
        """Submit and wait; when the wait ends early, the request is cancelled."""
        mine = _Request(digest(identity.public), request_id, secrets.token_hex(16))
        await self._submit(mine, identity.public, node, sealed)
        try:
            async with asyncio.timeout(self.context.config.facade_timeout):
                return await self._wait(mine)
        except TimeoutError:
            await self._end(mine, Stage.EXPIRED, "provider_timeout")
            raise errors.timed_out() from None
        except asyncio.CancelledError:
            # The caller hung up.
            await self._end(mine, Stage.CANCELLED, "requester_cancelled")
            raise

    async def _submit(self, mine: _Request, client: str, node: str, sealed: Sealed) -> None:
        outer = {
            "client_public_key": client,
            "ciphertext": sealed.ciphertext,
            "chat_history": sealed.ciphertext,
            "cipherkey": sealed.cipherkey,
            "iv": sealed.iv,
            "request_id": mine.id,
            "protocol": PROTOCOL,
            "version": VERSION,
        }
        size = len(sealed.ciphertext) + len(sealed.cipherkey) + len(client)
        token = secret_digest(mine.token)
        try:
            await self.context.state.submit(
                mine.client, mine.id, node, outer, size=size, cancel_token=token, reader=token
            )
        except StateError as error:
            raise errors.answer(error) from None
        log.info("request queued", node=fingerprint(node), by="facade")

    async def _wait(self, mine: _Request) -> Sealed:
        """Wait for the answer until the deadline of the request; raises ApiError."""
        state, reader = self.context.state, secret_digest(mine.token)
        try:
            answer = await state.await_answer(mine.client, mine.id, reader)
            # Its key pair serves this call only, so the answer cannot be read a second time.
            await state.acknowledge(mine.client, mine.id, reader)
        except StateError as error:
            raise errors.answer(error) from None
        return Sealed(answer["ciphertext"], answer["cipherkey"], answer["iv"])

    async def _end(self, mine: _Request, stage: Stage, reason: str) -> None:
        """Withdraw a request, also while this call is being cancelled."""
        await shielded(self.context.undoing, self._withdraw(mine, stage, reason))

    async def _withdraw(self, mine: _Request, stage: Stage, reason: str) -> None:
        """Cancel a request whose caller has left; an answer of the same moment is dropped."""
        state, token = self.context.state, secret_digest(mine.token)
        try:
            await state.cancel(mine.client, mine.id, token, stage, reason)
        # The node answered in the same moment. Unread, the answer would keep a drain waiting.
        except WrongProof:
            with contextlib.suppress(UnknownRequest):
                await state.acknowledge(mine.client, mine.id, token)
        else:
            log.info("request cancelled", reason=reason, by="facade")

    async def _opened(self, answer: Sealed, identity: Identity, request_id: str) -> Inner:
        try:
            inner = await self.open(identity, answer, dict[str, Any])
            envelope.check(inner, request_id, identity.public)
        except EnvelopeError:
            raise errors.unreadable() from None
        return inner


FACADE = web.AppKey("facade", Facade)


async def serving(app: web.Application) -> AsyncIterator[None]:
    """Stop the threads of the facade with the application."""
    yield
    await app[FACADE].keys.close()


def make(context: Context) -> Facade:
    """The facade of a relay; it makes key pairs on first use."""
    return Facade(context, Keys(context.config.facade_spare_keys))


def _checked(inner: Inner) -> JsonObject:
    """The `api_v1_response` of an answer; an error that the node sealed is raised as ApiError."""
    answer = inner.get("api_v1_response")
    if not isinstance(answer, dict):
        raise errors.unreadable()
    if answer.get("error") is not None:
        raise errors.node_error(answer["error"])
    return answer
