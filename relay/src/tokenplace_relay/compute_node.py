"""A token.place compute node without a model: it registers, claims work, and answers it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tokenplace_relay import envelope
from tokenplace_relay.envelope import Identity, Inner, Sealed
from tokenplace_relay.peer import Connection, Json

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

    async def register(self) -> Json:
        """Enter the relay's registry; keeps the credential that the first answer brings."""
        body = {"server_public_key": self.identity.public, "capabilities": self.capabilities}
        _, answer = await self.relay.post("servers/register", body)
        self.credential = answer.get("control_credential", self.credential)
        return answer

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
        body = {"server_public_key": self.identity.public}
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
        message = self.answer(inner["api_v1_request"])
        answer = envelope.response(request_id, client, message)
        # Every client, the browser's too, is answered with the old padding.
        sealed = await asyncio.to_thread(envelope.seal, answer, client, "pkcs1v15")
        await self.relay.post(
            "responses",
            {
                "client_public_key": client,
                "request_id": request_id,
                "protocol": envelope.PROTOCOL,
                "version": envelope.VERSION,
                "chat_history": sealed.ciphertext,
                "cipherkey": sealed.cipherkey,
                "iv": sealed.iv,
            },
        )

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
