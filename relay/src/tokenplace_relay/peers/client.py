"""A token.place client: selects a compute node, sends a sealed request, reads the answer."""

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Literal

from tokenplace_relay.peers.connection import Json, RelayConnection
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.protocol.envelope import Identity, Inner, Padding, Sealed

Form = Literal["ciphertext", "chat_history"]


@dataclass(slots=True)
class Client:
    """One client with one key pair.

    token.place's Python clients send the field `chat_history` with OAEP padding, its web page
    sends `ciphertext` with PKCS#1 v1.5; padding and form choose between them.
    """

    relay: RelayConnection
    identity: Identity
    padding: Padding = "oaep"
    form: Form = "chat_history"
    cancel_tokens: dict[str, str] = field(default_factory=dict)
    progress: list[Inner] = field(default_factory=list)
    """Progress reports, in the order of arrival."""

    async def select(self, model: str, tier: str = "8k-fast") -> Json:
        """Ask for a compute node; the answer has its public key."""
        query = {"model": model, "context_tier": tier}
        return (await self.relay.get("api/v1/relay/servers/next", query))[1]

    async def send(self, node: str, model: str, messages: list[Inner]) -> str:
        """Encrypt a chat request to a node's key and submit it; return its request id."""
        request_id = secrets.token_hex(16)
        cancel_token = secrets.token_hex(16)
        inner = envelope.request(request_id, self.identity.public, model, messages)
        sealed = await asyncio.to_thread(envelope.seal, inner, node, self.padding)
        # Stored before the call: if its response is lost, the request can still be cancelled.
        self.cancel_tokens[request_id] = cancel_token
        await self.relay.post(
            "requests",
            {
                "client_public_key": self.identity.public,
                "server_public_key": node,
                self.form: sealed.ciphertext,
                "cipherkey": sealed.cipherkey,
                "iv": sealed.iv,
                "protocol": PROTOCOL,
                "version": VERSION,
                "request_id": request_id,
                "cancel_token": cancel_token,
            },
        )
        return request_id

    async def retrieve(self, request_id: str, wait_seconds: int = 0) -> Inner | None:
        """Return the decrypted and checked answer, or None while it is pending.

        Progress of a pending request is decrypted and added to `progress`. With wait_seconds the
        relay is asked to hold the call until there is progress or an answer.
        """
        body = {"client_public_key": self.identity.public, "request_id": request_id}
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        status, answer = await self.relay.post("responses/retrieve", body, headers)
        if status == 202:
            if report := answer.get("encrypted_progress"):
                self.progress.append(await self._open(report, "ciphertext", request_id))
            return None
        inner = await self._open(answer, "chat_history", request_id)
        response: Inner = inner["api_v1_response"]
        return response

    async def _open(self, outer: Json, name: str, request_id: str) -> Inner:
        sealed = Sealed(outer[name], outer["cipherkey"], outer["iv"])
        inner = await asyncio.to_thread(self.identity.open, sealed)
        envelope.check(inner, request_id, self.identity.public)
        return inner

    async def wait_for_answer(self, request_id: str, every_seconds: float = 0.05) -> Inner:
        """Retrieve until there is an answer; the caller sets the timeout."""
        while True:
            answer = await self.retrieve(request_id)
            if answer is not None:
                return answer
            await asyncio.sleep(every_seconds)

    async def cancel(self, request_id: str) -> Json:
        """Cancel a request."""
        body = {
            "client_public_key": self.identity.public,
            "request_id": request_id,
            "cancel_token": self.cancel_tokens[request_id],
        }
        return (await self.relay.post("requests/cancel", body))[1]
