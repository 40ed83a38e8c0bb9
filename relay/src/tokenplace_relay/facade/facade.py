"""The facade: a client of this relay inside this relay, for those that speak OpenAI's API only.

It selects, seals, submits and waits like any other client, on the same state with the same bounds
and counts. What it seals and opens is plaintext in this process: see docs/security.md.
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
from tokenplace_relay.facade.completions import Asked, failure
from tokenplace_relay.facade.keys import Keys
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity, Inner, Sealed
from tokenplace_relay.server.response import JsonObject
from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.model import (
    Finished,
    Full,
    Key,
    Pending,
    Stage,
    UnknownNode,
    UnknownRequest,
    WrongProof,
    digest,
    request_key,
)
from tokenplace_relay.state.selection import resolve_model
from tokenplace_relay.telemetry.logs import fingerprint, get

log = get("tokenplace.relay.facade")
T = TypeVar("T")

TIER: Final = next(iter(TIERS))
_MESSAGE_LENGTH: Final = 500
_LATE_SECONDS: Final = 0.1
"""After its deadline a request has ended, for sure."""
_CALLERS_FAULT: Final = frozenset(
    {
        "compute_node_invalid_request", "compute_node_request_too_large",
        "compute_node_model_unsupported", "compute_node_options_unsupported",
        "compute_node_context_tier_unsupported", "compute_node_context_window_exceeded",
    }
)  # fmt: skip
_NODE_UNABLE: Final = frozenset(
    {"compute_node_runtime_unavailable", "compute_node_context_admission_unavailable"}
)


@dataclass(frozen=True, slots=True)
class _Request:
    """How the state knows a request of the facade."""

    client: Key
    id: str
    token: str = field(repr=False)
    """Proves who may cancel it and read its answer; no node learns it."""


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
                # A rotation meanwhile has handed out another one, which must stay.
                self.identity = self.identity or pair
            return self.identity

    async def rotate(self) -> Identity:
        """Replace the key pair; what is sealed to the old one cannot be opened any more."""
        self.identity = await self.keys.take()
        return self.identity

    async def open(self, identity: Identity, sealed: Sealed, kind: type[T]) -> T:
        """Decrypt what was sealed to one of our key pairs; raises EnvelopeError."""
        most = self.context.config.max_body_bytes
        return await self.keys.run(partial(identity.open_as, sealed, kind, most))

    async def ask(self, asked: Asked) -> JsonObject:
        """Let a compute node answer; its `api_v1_response`, errors raised as ApiError."""
        self.context.refuse_when_draining()
        if self.busy >= self.context.config.facade_max_requests:
            text = "This relay answers as many requests as it may"
            raise failure(503, text, "facade_full", "server_error", retry_after=5)
        self.busy += 1
        try:
            return await self._exchange(asked)
        finally:
            self.busy -= 1

    async def _exchange(self, asked: Asked) -> JsonObject:
        model = resolve_model(asked.model)
        # First: a key pair takes some 100 ms of CPU, too much for a call that nobody can answer.
        node = self._select(model)
        identity = await self.keys.take()
        request_id = f"api-v1-{secrets.token_hex(16)}"
        inner = envelope.request(request_id, identity.public, model, [])
        inner["api_v1_request"].update(
            messages=asked.messages, options=asked.options, routing={"context_tier": TIER}
        )
        sealed = await self._sealed(inner, node)
        answer = await self._answered(identity, request_id, node, sealed)
        return _checked(await self._opened(answer, identity, request_id))

    def _select(self, model: str) -> str:
        choice = self.context.state.select(model, TIER)
        if choice.node is not None:
            return choice.node.key
        if choice.full:
            text = "Every compute node that serves this model is busy"
            raise failure(503, text, "no_available_capacity", "server_error", retry_after=2)
        text = "No registered compute nodes are available on this relay."
        raise failure(503, text, "no_registered_compute_nodes", "server_error", retry_after=5)

    async def _sealed(self, inner: Inner, node: str) -> Sealed:
        try:
            return await self.keys.run(partial(envelope.seal, inner, node, "pkcs1v15"))
        except EnvelopeError:
            raise _unreachable() from None

    async def _answered(
        self, identity: Identity, request_id: str, node: str, sealed: Sealed
    ) -> Sealed:
        """Submit and wait; whatever ends the wait early takes the request back."""
        mine = _Request(digest(identity.public), request_id, secrets.token_hex(16))
        self._submit(mine, identity.public, node, sealed)
        try:
            async with asyncio.timeout(self.context.config.facade_timeout):
                return await self._wait(mine)
        except TimeoutError:
            self._take_back(mine, Stage.EXPIRED, "provider_timeout")
            raise _timed_out() from None
        except asyncio.CancelledError:
            # The caller is gone.
            self._take_back(mine, Stage.CANCELLED, "requester_cancelled")
            raise

    def _submit(self, mine: _Request, client: str, node: str, sealed: Sealed) -> None:
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
        submit, token = self.context.state.submit, mine.token
        try:
            submit(mine.client, mine.id, node, outer, size=size, token=token, reader=token)
        except UnknownNode:
            raise _unreachable() from None
        except Full as full:
            raise failure(503, full.message, full.code, "server_error", retry_after=5) from None
        log.info("request queued", node=fingerprint(node), by="facade")

    async def _wait(self, mine: _Request) -> Sealed:
        """Look, and look again whenever there is news, until there is an answer."""
        while True:
            try:
                found = self.context.state.retrieve(mine.client, mine.id, mine.token)
            except Finished as end:
                raise _ended(end) from None
            except UnknownRequest:
                raise _unreachable() from None
            if not isinstance(found, Pending):
                # Nobody can ask for it again: its key pair is of this call only.
                self.context.state.acknowledge(mine.client, mine.id, mine.token)
                return Sealed(found["ciphertext"], found["cipherkey"], found["iv"])
            await self.context.retrieves.wait(
                request_key(mine.client, mine.id), found.remaining + _LATE_SECONDS
            )

    def _take_back(self, mine: _Request, stage: Stage, reason: str) -> None:
        state = self.context.state
        try:
            state.cancel(mine.client, mine.id, mine.token, stage, reason)
        except WrongProof:
            # It was answered in the same moment, for nobody, or is forgotten.
            with contextlib.suppress(UnknownRequest):
                state.acknowledge(mine.client, mine.id, mine.token)
        else:
            log.info("request cancelled", reason=reason, by="facade")

    async def _opened(self, answer: Sealed, identity: Identity, request_id: str) -> Inner:
        try:
            inner = await self.open(identity, answer, dict[str, Any])
            envelope.check(inner, request_id, identity.public)
        except EnvelopeError:
            raise _unreadable() from None
        return inner


FACADE = web.AppKey("facade", Facade)


async def serving(app: web.Application) -> AsyncIterator[None]:
    """End the threads of the facade with the application."""
    yield
    await app[FACADE].keys.close()


def make(context: Context) -> Facade:
    """The facade of a relay; without key pairs yet."""
    return Facade(context, Keys(context.config.facade_spare_keys))


def _checked(inner: Inner) -> JsonObject:
    """The inside of an answer; an error that the node sealed becomes one of HTTP."""
    answer = inner.get("api_v1_response")
    if not isinstance(answer, dict):
        raise _unreadable()
    error = answer.get("error")
    if error is None:
        return answer
    error = error if isinstance(error, dict) else {}
    code, said = error.get("code"), error.get("message")
    text = said[:_MESSAGE_LENGTH] if isinstance(said, str) else "The compute node failed"
    if code in _CALLERS_FAULT:
        raise failure(400, text, str(code), "invalid_request_error")
    if code in _NODE_UNABLE:
        raise failure(503, text, str(code), "server_error", retry_after=5)
    raise failure(502, text, "compute_node_bridge_error", "server_error")


def _ended(end: Finished) -> Exception:
    if end.reason == "server_unregistered":
        return _unreachable()
    if end.status is Stage.EXPIRED:
        return _timed_out()
    text = "The request was cancelled"
    return failure(504, text, "compute_node_request_cancelled", "server_error")


def _timed_out() -> Exception:
    text = "The compute node did not answer in time"
    return failure(504, text, "compute_node_timeout", "server_error")


def _unreachable() -> Exception:
    text = "The compute node is gone; try again"
    return failure(503, text, "compute_node_unreachable", "server_error", retry_after=1)


def _unreadable() -> Exception:
    text = "The compute node's answer cannot be read"
    return failure(502, text, "compute_node_invalid_payload", "server_error")
