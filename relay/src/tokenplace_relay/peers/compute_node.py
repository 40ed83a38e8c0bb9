"""A token.place compute node without a model: it registers, claims requests, and answers them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tokenplace_relay.peers.connection import Json, RelayConnection
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.envelope import Identity, Inner, Sealed

Answer = Callable[[Inner], Inner]
"""Takes the inner `api_v1_request`, returns the message of the answer."""


def echo(request: Inner) -> Inner:
    """Answer with the last message of the request."""
    return {"role": "assistant", "content": request["messages"][-1]["content"]}


@dataclass(slots=True)
class ComputeNode:
    """One compute node with one key pair, serving the given models."""

    relay: RelayConnection
    identity: Identity
    models: tuple[str, ...]
    answer: Answer = echo
    credential: str = field(default="", repr=False)
    sends_credential: bool = False
    """Whether the relay checks credentials of polls and answers; token.place's own does not."""

    async def register(self) -> Json:
        """Register, and store the credential of the first answer."""
        body = {
            "server_public_key": self.identity.public,
            "capabilities": self.capabilities,
            **self._proof,
        }
        _, answer = await self.relay.post("servers/register", body)
        # The relay sends the credential only when it creates the node, not when it renews it.
        self.credential = answer.get("control_credential", self.credential)
        self.sends_credential = bool(answer.get("relay_capabilities", {}).get("node_proof_v1"))
        return answer

    @property
    def _proof(self) -> Json:
        """The credential, for a relay that checks it; token.place server.py sends none."""
        return {"control_credential": self.credential} if self.sends_credential else {}

    @property
    def capabilities(self) -> Json:
        """The capabilities that token.place server.py sends."""
        return {
            "api_version": "v1",
            "supported_model_ids": list(self.models),
            "active_context_tier": "8k-fast",
            "maximum_total_context_tokens": 8192,
            "default_output_token_reservation": 1024,
            "maximum_output_tokens": 8192,
            "max_concurrency": 1,
            "backend_class": "cpu",
        }

    async def poll(self) -> Json | None:
        """Claim a request; None if there was none within the hold of the poll."""
        body = {"server_public_key": self.identity.public, **self._proof}
        _, work = await self.relay.post("servers/poll", body)
        # A poll without work also gets 200 and a JSON object (token.place relay.py).
        return work if "client_public_key" in work else None

    async def control(self, work: Json) -> str:
        """Renew the lease of a claimed request; return its status, such as `cancelled`."""
        body = {
            "server_public_key": self.identity.public,
            "request_id": work["request_id"],
            "control_credential": self.credential,
            # An acknowledgement would remove the tombstone that a later call may need.
            "acknowledge": False,
        }
        _, answer = await self.relay.post("servers/control", body)
        return str(answer["status"])

    async def respond(self, work: Json) -> None:
        """Decrypt a claimed request and submit the encrypted answer."""
        client, request_id = work["client_public_key"], work["request_id"]
        sealed_work = Sealed(work["chat_history"], work["cipherkey"], work["iv"])
        # RSA takes milliseconds of CPU, in which the event loop would do nothing else.
        inner = await asyncio.to_thread(self.identity.open, sealed_work)
        envelope.check(inner, request_id, client)
        answer = envelope.response(request_id, client, self.reply(inner["api_v1_request"]))
        # token.place nodes answer every client with PKCS#1 v1.5 padding.
        sealed = await asyncio.to_thread(envelope.seal, answer, client, "pkcs1v15")
        await self.relay.post(
            "responses",
            {
                "client_public_key": client,
                "request_id": request_id,
                "protocol": PROTOCOL,
                "version": VERSION,
                "chat_history": sealed.ciphertext,
                "cipherkey": sealed.cipherkey,
                "iv": sealed.iv,
                **self._proof,
            },
        )

    async def publish_progress(self, work: Json, sequence: int, phase: str, **counts: int) -> None:
        """Publish progress; sequence must rise, phase is one of token.place server.py."""
        client, request_id = work["client_public_key"], work["request_id"]
        inner = envelope.progress(request_id, client, sequence, phase, counts)
        sealed = await asyncio.to_thread(envelope.seal, inner, client, "pkcs1v15")
        await self.relay.post(
            "progress",
            {
                "server_public_key": self.identity.public,
                "client_public_key": client,
                "request_id": request_id,
                "control_credential": self.credential,
                "protocol": PROTOCOL,
                "version": VERSION,
                "ciphertext": sealed.ciphertext,
                "cipherkey": sealed.cipherkey,
                "iv": sealed.iv,
            },
        )

    def reply(self, request: Inner) -> Inner:
        """Return the `api_v1_response` to an `api_v1_request`."""
        return {"message": self.answer(request)}

    async def serve_one(self) -> None:
        """Claim and answer one request."""
        # The relay holds each poll, so this loop does not spin.
        while (work := await self.poll()) is None:
            pass
        await self.control(work)
        await self.respond(work)

    async def unregister(self) -> bool:
        """Unregister; return whether the node was registered."""
        body = {"server_public_key": self.identity.public, "control_credential": self.credential}
        _, answer = await self.relay.post("servers/unregister", body)
        return bool(answer["removed"])
