"""Request content never appears in logs, metrics, health, or errors of other callers."""

import asyncio
import hashlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from tokenplace_harness.openapi import Contract
from tokenplace_harness.peers import serving_node
from tokenplace_harness.process import RelayProcess, relay_process
from tokenplace_harness.wait import eventually
from tokenplace_relay.peers.client import Client
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Json, RelayConnection, RelayError
from tokenplace_relay.protocol.envelope import Identity

MARK = "Hush7"
"""Is part of every secret; grep finds it wherever it comes out, in small letters too."""
TOKENS = {
    "TOKEN_PLACE_RELAY_SERVER_TOKENS": f"{MARK}-registration",
    "TOKEN_PLACE_OPERATOR_TOKEN": f"{MARK}-operator",
    "TOKENPLACE_METRICS_TOKEN": f"{MARK}-metrics",
}
SETTINGS = {
    **TOKENS,
    "TOKENPLACE_LOG_LEVEL": "DEBUG",
    "API_RATE_LIMIT": "off",
    "API_DAILY_QUOTA": "off",
    "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": "0.05",
}
FIELDS = [
    "server_public_key", "client_public_key", "control_credential", "request_id", "cancel_token",
    "status", "reason", "protocol", "version", "ciphertext", "chat_history", "cipherkey", "iv",
    "model", "prompt", "stream", "n", "temperature", "max_tokens", "stop", "metadata", "encrypted",
    "capabilities", "acknowledge", "user", "messages",
]  # fmt: skip
ADDRESS = "203.0.113.77"
NOT_LOGGED = {"/livez", "/healthz", "/metrics"}
CONTRACT = Contract()


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process(**SETTINGS) as process:
        yield process


@pytest_asyncio.fixture
async def http(relay: RelayProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(relay.url) as session:
        yield session


def headers(where: str) -> dict[str, str]:
    """A secret in every header that any code might read."""
    return {
        "Authorization": f"Bearer {MARK}-{where}-bearer",
        "X-Relay-Server-Token": f"{MARK}-{where}-node",
        "X-Token-Place-Operator": f"{MARK}-{where}-operator",
        "X-Request-Id": f"{MARK}-{where}-id",
        "User-Agent": f"{MARK}-{where}-agent",
        "Cookie": f"session={MARK}-{where}",
        "Referer": f"http://{MARK}/{where}",
        "Origin": f"http://{MARK}",
        "Prefer": f"wait={MARK}",
        "Host": f"{MARK}.example.com",
        "X-Forwarded-For": ADDRESS,
    }


async def send_secrets(http: aiohttp.ClientSession) -> int:
    """Every route, each with secrets in path, query, headers and each field; how many calls."""
    calls = 0
    right = {"X-Relay-Server-Token": TOKENS["TOKEN_PLACE_RELAY_SERVER_TOKENS"]}
    for method, path, _ in CONTRACT.operations():
        url = re.sub(r"{\w+}", f"{MARK}-path", path)
        query = {MARK: MARK, "model": f"{MARK}-model", "context_tier": f"{MARK}-tier"}
        sent: list[Json | None] = [None]
        if method == "POST":
            sent = [{name: f"{MARK}-{name}" for name in FIELDS}, {MARK: MARK}]
            sent += [{name: {MARK: [f"{MARK}-{name}"]}} for name in FIELDS]
            sent += [{name: f"{MARK}-{name}"} for name in FIELDS]
            sent += [{"server_public_key": "k", "capabilities": {"backend_class": MARK, MARK: 1}}]
        for body in sent:
            for extra in ({}, right):
                given = {**headers("h"), **extra}
                async with http.request(
                    method, url, params=query, json=body, headers=given
                ) as response:
                    await response.read()
                calls += 1
    return calls


def send_broken(url: str) -> None:
    """What is not even HTTP."""
    place = urlsplit(url)
    assert place.hostname is not None
    for raw in (
        f"{MARK}\r\n\r\n", f"GET /{MARK} HTTP/9.9\r\n\r\n", f"{MARK} /livez HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\n{MARK} : {MARK}\r\n\r\n", f"GET / HTTP/1.1\r\nX: {MARK}\x00\r\n\r\n",
        f"POST /api/v1/relay/requests HTTP/1.1\r\nContent-Type: application/json\r\n"
        f'Content-Length: 9999\r\n\r\n{{"{MARK}":',
        f"POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{MARK}\r\n",
        f"GET /{MARK * 4000} HTTP/1.1\r\n\r\n", f"GET / HTTP/1.1\r\nX: {MARK * 4000}\r\n\r\n",
    ):  # fmt: skip
        with socket.create_connection((place.hostname, place.port or 0), timeout=10) as connection:
            connection.sendall(raw.encode())
            connection.shutdown(socket.SHUT_WR)
            with suppress(ConnectionError, TimeoutError):
                while connection.recv(65536):
                    pass


def unlogged(relay: RelayProcess) -> set[str]:
    """Routes without a log line."""
    logged = {line["http_route"] for line in relay.events("http.request")}
    return {path for _, path, _ in CONTRACT.operations()} - logged


async def test_nothing_that_was_sent_comes_out(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    assert await send_secrets(http) > 500
    await eventually(lambda: unlogged(relay) == NOT_LOGGED)
    await asyncio.to_thread(send_broken, relay.url)
    keys = await round_trip(relay, http)
    seen = await shown(relay, http)
    for name, text in seen.items():
        assert MARK.lower() not in text.lower(), name
        assert ADDRESS not in text, name
        for key in keys:
            assert key not in text, name
    # The start logs the port without an address.
    assert "127.0.0.1" not in seen["stdout"]
    assert seen["stderr"] == ""


async def round_trip(relay: RelayProcess, http: aiohttp.ClientSession) -> list[str]:
    """Real peers with secret content, also through the facade; keys, tokens and ids of theirs."""
    token = TOKENS["TOKEN_PLACE_RELAY_SERVER_TOKENS"]
    secret: list[Json] = [{"role": "user", "content": f"{MARK}-content"}]
    async with serving_node(relay.url, token=token) as node:
        client = Client(RelayConnection(http, relay.url), Identity.create())
        request_id = await client.send(node.identity.public, "qwen3-8b-instruct", secret)
        answer = await client.wait_for_answer(request_id)
        assert answer["message"]["content"] == f"{MARK}-content"
        body = {"model": "qwen3-8b-instruct", "messages": secret, "metadata": {"m": MARK}}
        async with http.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200
            assert MARK in await response.text()
        late = await client.send(node.identity.public, "qwen3-8b-instruct", secret)
        with suppress(RelayError):
            await client.cancel(late)
        own = [node.identity.public, client.identity.public, node.credential]
    return [*own, request_id, late, *client.cancel_tokens.values()]


async def shown(relay: RelayProcess, http: aiohttp.ClientSession) -> dict[str, str]:
    """Everything that this relay shows to operators and other callers."""
    token = TOKENS["TOKEN_PLACE_RELAY_SERVER_TOKENS"]
    bearer = {"Authorization": f"Bearer {TOKENS['TOKENPLACE_METRICS_TOKEN']}"}
    node = ComputeNode(RelayConnection(http, relay.url, token), Identity.create(), ("m",))
    await node.register()
    texts = {}
    for path in ("/metrics", "/healthz", "/relay/diagnostics", "/api/v1/relay/server-nodes"):
        async with http.get(path, headers=bearer) as response:
            assert response.status == 200
            texts[path] = await response.text()
    await node.unregister()
    for method, path, _ in CONTRACT.operations():
        url = path.replace("{model}", "x").replace("{path}", "x")
        body: Json | None = {} if method == "POST" else None
        async with http.request(method, url, json=body) as response:
            if response.status >= 400:
                texts[f"{method} {path}"] = await response.text()
    return {**texts, "stdout": "\n".join(relay.stdout), "stderr": "\n".join(relay.stderr)}


async def test_log_lines_have_ids_and_fingerprints(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    async with http.get("/api/v1/meta", headers={"X-Request-Id": "mine-1"}) as response:
        assert response.headers["X-Request-Id"] == "mine-1"
    async with http.get("/api/v1/meta", headers={"X-Request-Id": "not allowed"}) as response:
        made = response.headers["X-Request-Id"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)
    await round_trip(relay, http)
    calls = relay.events("http.request")
    ids = [line["request_id"] for line in calls]
    assert made in ids
    # An id that a caller chose could be a secret; its fingerprint is as good to find it by.
    assert hashlib.sha256(b"mine-1").hexdigest()[:12] in ids
    for line in calls:
        assert {"timestamp", "level", "logger", "message", "http_route", "http_status"} <= set(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    queued = [line for line in calls if "node" in line]
    assert {line["http_route"].rpartition("/")[2] for line in queued} == {"requests", "poll"}
    queued += relay.events("request queued")
    assert all(re.fullmatch(r"[0-9a-f]{12}", line["node"]) for line in queued)
    assert {line["logger"] for line in queued} == {
        "tokenplace.relay.http",
        "tokenplace.relay.facade",
    }
