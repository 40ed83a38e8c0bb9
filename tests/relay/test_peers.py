"""What real peers send, byte for byte, and what each of them needs to find in the answers.

Taken from token.place's relay_client.py (over requests, and over urllib in the packaged desktop
app), client.py and static/chat.js, whose networking and cryptography were run against this relay.
"""

import asyncio
import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tokenplace_harness.inside import NODE, RELAY, Inside, Json, inside

PROTOCOL: Final = "tokenplace_api_v1_relay_e2ee"
PYTHON_KEY: Final = base64.b64encode(b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END-----\n").decode()
"""With the final newline of a PEM from Python's cryptography."""
BROWSER_KEY: Final = base64.b64encode(b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END-----").decode()
"""JSEncrypt writes none."""
NODE_KEY: Final = base64.b64encode(b"-----BEGIN PUBLIC KEY-----\nMIIC\n-----END-----\n").decode()
ABLE: Final[Json] = {
    "api_version": "v1", "supported_model_ids": ["llama-3-8b-instruct", "qwen3-8b-instruct"],
    "active_context_tier": "8k-fast", "maximum_total_context_tokens": 8192,
    "default_output_token_reservation": 1024, "maximum_output_tokens": 8192,
    "max_concurrency": 1, "backend_class": "unknown",
}  # fmt: skip
TYPE: Final = "Content-Type: application/json\n"
SEALED: Final = {"cipherkey": "d3JhcHBlZA==", "iv": "aXY="}


@dataclass(frozen=True)
class Peer:
    """How one kind of HTTP client writes its calls."""

    head: str
    """Its headers in its order; `{type}` is replaced by those of a body."""
    dumps: Callable[[object], str]

    def write(self, host: str, method: str, path: str, body: Json | None) -> bytes:
        """The bytes of one call."""
        content = b"" if body is None else self.dumps(body).encode()
        of_body = "" if body is None else f"Content-Length: {len(content)}\n{TYPE}"
        headers = self.head.format(host=host, type=of_body)
        return f"{method} {path} HTTP/1.1\n{headers}\n".replace("\n", "\r\n").encode() + content


def compact(body: object) -> str:
    """As JSON.stringify writes it."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


URLLIB: Final = Peer(
    "Accept-Encoding: identity\n{type}Host: {host}\nUser-Agent: Python-urllib/3.12\n"
    "Connection: close\n",
    json.dumps,
)
REQUESTS: Final = Peer(
    "Host: {host}\nUser-Agent: python-requests/2.32.3\nAccept-Encoding: gzip, deflate, zstd\n"
    "Accept: */*\nConnection: keep-alive\n{type}",
    json.dumps,
)
BROWSER: Final = Peer(
    "Host: {host}\nConnection: keep-alive\nCache-Control: no-cache\nPragma: no-cache\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/139.0.0.0\n{type}Accept: */*\n"
    "Origin: https://elsewhere.example\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: cors\n"
    "Sec-Fetch-Dest: empty\nAccept-Encoding: gzip, deflate, br, zstd\nAccept-Language: de,en\n",
    compact,
)


async def call(
    relay: Inside, peer: Peer, method: str, path: str, body: Json | None = None
) -> tuple[int, Any]:
    """One call through a plain socket: status and JSON."""
    place = urlsplit(relay.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(peer.write(place.netloc, method, path, body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert b"content-type: application/json\r\n" in head
        assert b"content-encoding" not in head
        length = int(head.split(b"content-length:")[1].split()[0])
        return int(head.split()[1]), json.loads(await reader.readexactly(length))
    finally:
        writer.close()


def is_seconds(value: object, low: float = 0.0, high: float = math.inf) -> bool:
    """Nodes take a number that is no boolean."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and low <= float(str(value)) <= high


async def register(relay: Inside, node: Peer) -> str:
    """A node registers; it needs its lease, poll hold, credential and the support of progress."""
    body = {"server_public_key": NODE_KEY, "capabilities": ABLE}
    status, answer = await call(relay, node, "POST", f"{RELAY}/servers/register", body)
    assert status == 200
    assert is_seconds(answer["next_ping_in_x_seconds"], low=1)
    assert is_seconds(answer["poll_wait_seconds"])
    assert answer["relay_capabilities"]["encrypted_progress_v1"] is True
    assert "error" not in answer
    credential: str = answer["control_credential"]
    assert len(credential) == 43
    status, _ = await call(
        relay, node, "POST", f"{RELAY}/servers/poll", {"server_public_key": NODE_KEY}
    )
    assert status == 200
    # Its heartbeat during an inference is the same call again, without any proof.
    status, again = await call(relay, node, "POST", f"{RELAY}/servers/register", body)
    assert status == 200
    assert again.get("control_credential") is None
    return credential


def sealed_by(client: Peer, server_key: str) -> Json:
    """A request as this client seals it: Python writes chat_history, the page ciphertext."""
    name = "ciphertext" if client is BROWSER else "chat_history"
    own = BROWSER_KEY if client is BROWSER else PYTHON_KEY
    return {
        "server_public_key": server_key, "client_public_key": own, "request_id": "0e5c1c73",
        "protocol": PROTOCOL, "version": 1, name: "Y2lwaGVy", **SEALED, "cancel_token": "f3a1",
    }  # fmt: skip


async def select(relay: Inside, client: Peer) -> str:
    """A client finds a node; the page needs its tier, all need the key as it registered."""
    query = "?model=qwen3-8b-instruct&context_tier=8k-fast" if client is BROWSER else ""
    status, answer = await call(relay, client, "GET", f"{RELAY}/servers/next{query}")
    assert status == 200
    assert answer["selected_context_tier"] == "8k-fast"
    assert isinstance(answer["selected_context_window_tokens"], int)
    assert isinstance(answer["selection_policy"], str)
    assert answer["server_public_key"] == NODE_KEY
    return str(answer["server_public_key"])


async def work(relay: Inside, node: Peer, request: Json) -> None:
    """A node claims; needs strings under its names, time left, and a pause of 0 after it."""
    body = {"server_public_key": NODE_KEY, "capabilities": ABLE}
    status, found = await call(relay, node, "POST", f"{RELAY}/servers/poll", body)
    assert status == 200
    assert found["protocol"] == PROTOCOL
    assert found["version"] == 1
    assert found["request_id"] == request["request_id"]
    assert found["client_public_key"] == request["client_public_key"]
    assert found["chat_history"] == found["ciphertext"] == "Y2lwaGVy"
    assert {name: found[name] for name in SEALED} == SEALED
    for name in ("request_deadline_remaining_seconds", "request_ttl_seconds"):
        assert is_seconds(found[name], low=1)
    assert found["next_ping_in_x_seconds"] == 0
    assert not {"error", "cancel_token", "stream"} & found.keys()


async def supervise(relay: Inside, node: Peer, request: Json, credential: str) -> None:
    """A node sends control calls, progress and its answer; it needs exactly these fields."""
    owner = {"server_public_key": NODE_KEY, "request_id": request["request_id"],
             "control_credential": credential}  # fmt: skip
    body: Json = {**owner, "acknowledge": False}
    status, answer = await call(relay, node, "POST", f"{RELAY}/servers/control", body)
    assert (status, answer["status"]) == (200, "active")
    assert is_seconds(answer["next_poll_seconds"], low=1, high=10)
    to = {"client_public_key": request["client_public_key"], "protocol": PROTOCOL, "version": 1}
    news = {**owner, **to, "ciphertext": "bmV3cw==", **SEALED}
    status, _ = await call(relay, node, "POST", f"{RELAY}/progress", news)
    assert status == 202
    body = {**to, "request_id": request["request_id"], "chat_history": "YW5zd2Vy", **SEALED}
    status, _ = await call(relay, node, "POST", f"{RELAY}/responses", body)
    assert status == 200


@pytest.mark.parametrize("node", [URLLIB, REQUESTS], ids=["urllib", "requests"])
@pytest.mark.parametrize("client", [REQUESTS, BROWSER], ids=["python", "browser"])
async def test_exchange(node: Peer, client: Peer) -> None:
    async with inside() as relay:
        credential = await register(relay, node)
        request = sealed_by(client, await select(relay, client))
        status, answer = await call(relay, client, "POST", f"{RELAY}/requests", request)
        assert status == 200
        assert "message" in answer
        assert is_seconds(answer["request_ttl_seconds"], low=1)
        wanted = {name: request[name] for name in ("client_public_key", "request_id")}
        retrieve = f"{RELAY}/responses/retrieve"
        status, answer = await call(relay, client, "POST", retrieve, wanted)
        assert (status, answer["status"]) == (202, "pending")
        await work(relay, node, request)
        await supervise(relay, node, request, credential)
        status, answer = await call(relay, client, "POST", retrieve, wanted)
        assert status == 200
        assert answer["chat_history"] == answer["ciphertext"] == "YW5zd2Vy"
        assert {name: answer[name] for name in SEALED} == SEALED
        body = {"server_public_key": NODE_KEY, "control_credential": credential}
        status, answer = await call(relay, node, "POST", f"{RELAY}/servers/unregister", body)
        assert (status, answer["removed"]) == (200, True)


async def test_page_before_its_first_message() -> None:
    async with inside() as relay:
        status, models = await call(relay, BROWSER, "GET", "/api/v1/models")
        assert status == 200
        assert [model["id"] for model in models["data"]] == ["qwen3-8b-instruct"]
        assert await count_of_nodes(relay) == 0
        await register(relay, REQUESTS)
        assert await count_of_nodes(relay) == 1


async def count_of_nodes(relay: Inside) -> object:
    status, found = await call(relay, BROWSER, "GET", "/relay/diagnostics")
    assert status == 200
    return found["total_api_v1_registered_compute_nodes"]


@pytest.mark.parametrize("node", [URLLIB, REQUESTS], ids=["urllib", "requests"])
async def test_node_that_gets_a_stop(node: Peer) -> None:
    """It acknowledges a cancellation within two seconds."""
    async with inside() as relay:
        credential = await register(relay, node)
        request = sealed_by(BROWSER, NODE_KEY)
        await call(relay, BROWSER, "POST", f"{RELAY}/requests", request)
        await work(relay, node, request)
        cancel = {
            "client_public_key": BROWSER_KEY, "request_id": request["request_id"],
            "cancel_token": "f3a1", "status": "cancelled", "reason": "client_timeout",
        }  # fmt: skip
        status, answer = await call(relay, BROWSER, "POST", f"{RELAY}/requests/cancel", cancel)
        assert (status, answer["status"]) == (200, "cancelled")
        assert answer["request_id"] == request["request_id"]
        for acknowledge in (False, True):
            body: Json = {"server_public_key": NODE_KEY, "request_id": request["request_id"],
                          "control_credential": credential, "acknowledge": acknowledge}  # fmt: skip
            status, answer = await call(relay, node, "POST", f"{RELAY}/servers/control", body)
            assert (status, answer["status"]) == (200, "cancelled")


async def test_node_without_its_credential_gets_a_new_one() -> None:
    """It takes work and silently drops it, again and again: a new registration is its cure."""
    async with inside() as relay:
        await relay.register()
        await relay.submit()
        for _ in range(2):
            assert (await relay.poll()).body["request_id"] == "r1"
            await relay.advance(30)
        assert (await relay.poll()).status == 404
        assert (await relay.retrieve()).error["reason"] == "server_unregistered"
        again = await relay.post("servers/register", {"server_public_key": NODE})
        assert len(again.body["control_credential"]) == 43


async def test_node_in_a_drain_waits_for_the_successor() -> None:
    """It sleeps for a positive pause and takes it for the lease: then it registers again."""
    async with inside(poll_wait=10.0, real_time=True) as relay:
        await relay.register()
        relay.context.refusing = True
        answer = await relay.poll()
        assert answer.status == 200
        assert answer.body["next_ping_in_x_seconds"] == 5
