"""A token.place compute node without a model: it registers, claims work, and answers it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tokenplace_relay.peers.connection import Connection, Json
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.envelope import Identity, Inner, Sealed

Answer = Callable[[Inner], Inner]
"""From the inner `api_v1_request` to the message of the answer."""


def echo(asked: Inner) -> Inner:
    """Answer with the last message of the request."""
    return {"role": "assistant", "content": asked["messages"][-1]["content"]}


@dataclass(slots=True)
class ComputeNode:
    """One compute node with one key pair, serving the models it names."""

    relay: Connection
    identity: Identity
    models: tuple[str, ...]
    answer: Answer = echo
    credential: str = field(default="", repr=False)
    proves_itself: bool = False
    """Whether the relay takes proof of who polls and answers; token.place's own does not."""

    async def register(self) -> Json:
        """Enter the relay's registry; keeps the credential that the first answer brings."""
        body = {
            "server_public_key": self.identity.public,
            "capabilities": self.capabilities,
            **self._proof,
        }
        _, answer = await self.relay.post("servers/register", body)
        self.credential = answer.get("control_credential", self.credential)
        self.proves_itself = bool(answer.get("relay_capabilities", {}).get("node_proof_v1"))
        return answer

    @property
    def _proof(self) -> Json:
        """Shows whose call it is, to a relay that says it wants to know; `server.py` has none."""
        return {"control_credential": self.credential} if self.proves_itself else {}

    @property
    def capabilities(self) -> Json:
        """What `server.py` tells of itself."""
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
        """Claim work, waiting as long as the relay holds the poll; None when there was none."""
        body = {"server_public_key": self.identity.public, **self._proof}
        _, work = await self.relay.post("servers/poll", body)
        return work if "client_public_key" in work else None

    async def control(self, work: Json) -> str:
        """Tell the relay that the work goes on; its status says whether it should."""
        body = {
            "server_public_key": self.identity.public,
            "request_id": work["request_id"],
            "control_credential": self.credential,
            "acknowledge": False,
        }
        _, answer = await self.relay.post("servers/control", body)
        return str(answer["status"])

    async def respond(self, work: Json) -> None:
        """Open the work, answer it, and hand the sealed answer in."""
        client, request_id = work["client_public_key"], work["request_id"]
        sealed_work = Sealed(work["chat_history"], work["cipherkey"], work["iv"])
        inner = await asyncio.to_thread(self.identity.open, sealed_work)
        envelope.check(inner, request_id, client)
        answer = envelope.response(request_id, client, self.reply(inner["api_v1_request"]))
        # Every client, the browser's too, is answered with the old padding.
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
        """Tell the client how far its request is: sequence rises, phase as `server.py` has it."""
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

    def reply(self, asked: Inner) -> Inner:
        """The `api_v1_response` to an `api_v1_request`."""
        return {"message": self.answer(asked)}

    async def serve_one(self) -> None:
        """Claim and answer one request."""
        while (work := await self.poll()) is None:
            pass
        await self.control(work)
        await self.respond(work)

    async def unregister(self) -> bool:
        """Leave the registry; whether it was there."""
        body = {"server_public_key": self.identity.public, "control_credential": self.credential}
        _, answer = await self.relay.post("servers/unregister", body)
        return bool(answer["removed"])
