"""docs/openapi.yaml: the routes of the running relay, and what it really answers."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import aiohttp
import pytest
import pytest_asyncio

from tokenplace_harness.openapi import DOCUMENT, Contract
from tokenplace_harness.peers import serving_node
from tokenplace_harness.process import RelayProcess, relay_process
from tokenplace_relay.app import make_app
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Json, RelayConnection
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.constants import PROTOCOL
from tokenplace_relay.protocol.envelope import Identity
from tokenplace_relay.settings.config import Config

CONTRACT = Contract()
RELAY = "/api/v1/relay"
MODEL = "qwen3-8b-instruct"
OPERATOR = {"X-Token-Place-Operator": "operator-token"}
EVERYWHERE = frozenset({"GET", "POST"})
SEALED = {"ciphertext": "c", "cipherkey": "k", "iv": "i"}


def test_routes_are_those_of_the_relay() -> None:
    served: set[tuple[str, str]] = set()
    for route in make_app(Config()).router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if path == "/{rest}":
            # The catch-all route, which answers 404.
            continue
        methods = EVERYWHERE if route.method == "*" else {route.method} - {"HEAD"}
        served |= {(method, path) for method in methods}
    assert {(method, path) for method, path, _ in CONTRACT.operations()} == served


class Options(TypedDict, total=False):
    """What a call can have."""

    json: Json
    params: dict[str, str]
    headers: dict[str, str] | None


@dataclass
class Checked:
    """Calls whose every answer is compared with the document."""

    http: aiohttp.ClientSession
    seen: set[tuple[str, str, str]] = field(default_factory=set)

    async def get(self, path: str, status: int = 200, *, pattern: str = "", **query: str) -> Json:
        return await self._call("GET", path, status, pattern=pattern or path, params=query)

    async def post(
        self, path: str, body: Json, status: int = 200, *, headers: dict[str, str] | None = None
    ) -> Json:
        return await self._call("POST", path, status, pattern=path, json=body, headers=headers)

    async def _call(
        self, method: str, path: str, status: int, *, pattern: str, **options: Unpack[Options]
    ) -> Json:
        async with self.http.request(method, path, **options) as response:
            kind = response.content_type
            body: Any = await response.text()
            if kind == "application/json":
                body = await response.json()
            assert response.status == status, body
        assert CONTRACT.problems(method, pattern, status, kind, body) == [], body
        self.seen.add((method, pattern, str(status)))
        return body if isinstance(body, dict) else {}


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    settings = {
        "TOKEN_PLACE_OPERATOR_TOKEN": "operator-token",
        "API_RATE_LIMIT": "off",
        "API_DAILY_QUOTA": "off",
        "TOKENPLACE_GPU_HOST": "127.0.0.1",
        "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": "0.3",
    }
    with relay_process(**settings) as process:
        yield process


@pytest_asyncio.fixture
async def checked(relay: RelayProcess) -> AsyncIterator[Checked]:
    async with aiohttp.ClientSession(relay.url) as http:
        yield Checked(http)


async def test_every_documented_success_is_given_and_fits(
    relay: RelayProcess, checked: Checked
) -> None:
    await _tell(checked)
    await _exchange(checked)
    await _cancel(checked)
    await _facade(checked, relay.url)
    wanted = {
        (method, path, status)
        for method, path, operation in CONTRACT.operations()
        for status in operation["responses"]
        if status.startswith("2")
    }
    assert wanted - checked.seen == set()


async def _tell(checked: Checked) -> None:
    """Everything that needs nothing before it."""
    for path in (
        "/", "/livez", "/healthz", "/metrics", "/relay/diagnostics", "/api/v1/meta",
        "/api/v1/version", "/api/v1/health", "/v1/health", f"{RELAY}/server-nodes",
        "/api/v1/server-providers", "/api/v1/community/providers",
        "/api/v1/community/leaderboard", "/api/v1/community/contributions/summary",
    ):  # fmt: skip
        await checked.get(path)
    async with checked.http.get("/") as response:
        assets = re.findall(r"/assets/[\w.-]+", await response.text())
    assert assets
    for path in assets:
        await checked.get(path, pattern="/assets/{name}")
    for base in ("/api/v1", "/v1"):
        await checked.get(f"{base}/models")
        await checked.get(f"{base}/models/{MODEL}", pattern=f"{base}/models/{{model}}")
        await checked.get(f"{base}/models/none", 404, pattern=f"{base}/models/{{model}}")
        await checked.get(f"{base}/public-key")
        await checked.post(f"{base}/public-key/rotate", {}, headers=OPERATOR)
        await checked.post(f"{base}/public-key/rotate", {}, 401)
        await checked.post(f"{base}/images/generations", {}, 501)
    await checked.post("/api/v1/community/contributions", {}, 501)
    await checked.get("/next_server", 410)
    for path in ("/sink", "/faucet", "/source", "/retrieve", "/stream/source", "/stream/retrieve"):
        await checked.post(path, {}, 410)
    for path in ("chat/completions", "source"):
        await checked.post(f"/relay/api/v1/{path}", {}, 503)
    for root in ("/api/v2", "/v2"):
        await checked.get(f"{root}/models", 404, pattern=f"{root}/{{path}}")


async def _exchange(checked: Checked) -> None:
    """One request and all that belongs to it, by hand."""
    await checked.get(f"{RELAY}/servers/next", 503)
    node, credential = await _register(checked)
    await checked.get("/healthz")
    await checked.get("/relay/diagnostics")
    await checked.post(f"{RELAY}/servers/poll", {"server_public_key": node})
    await checked.post(f"{RELAY}/servers/poll", {"server_public_key": "unknown"}, 404)
    await checked.get(f"{RELAY}/servers/next", model=MODEL)
    await checked.get(f"{RELAY}/servers/next", 400, context_tier="9k")
    await checked.get(f"{RELAY}/servers/next", 503, model="none")
    header = {"protocol": PROTOCOL, "version": 1}
    names = {"client_public_key": "client", "request_id": "r1"}
    sent = {**names, **SEALED, **header, "server_public_key": node, "cancel_token": "t"}
    await checked.post(f"{RELAY}/requests", sent)
    await checked.post(f"{RELAY}/requests", {**sent, "messages": []}, 400)
    await checked.post(
        f"{RELAY}/requests", {**sent, "server_public_key": "unknown", "request_id": "x"}, 404
    )
    work = await checked.post(f"{RELAY}/servers/poll", {"server_public_key": node})
    assert work["ciphertext"] == "c"
    mine = {"server_public_key": node, "request_id": "r1", "control_credential": credential}
    await checked.post(f"{RELAY}/servers/control", mine)
    await checked.post(f"{RELAY}/servers/control", {**mine, "control_credential": "wrong"}, 403)
    await checked.post(f"{RELAY}/responses/retrieve", names, 202)
    news = {**mine, **names, **SEALED, **header}
    await checked.post(f"{RELAY}/progress", news, 202)
    await checked.post(f"{RELAY}/progress", {**news, "extra": 1}, 400)
    await checked.post(f"{RELAY}/responses/retrieve", names, 202)
    answer = {**names, **SEALED, **header}
    await checked.post(f"{RELAY}/responses", answer)
    await checked.post(f"{RELAY}/responses", answer)
    await checked.post(f"{RELAY}/responses/retrieve", names)
    await checked.post(f"{RELAY}/responses", {**answer, "request_id": "none"}, 410)
    await checked.post(f"{RELAY}/responses/retrieve", {**names, "request_id": "none"}, 404)
    gone = {"server_public_key": node, "control_credential": credential}
    await checked.post(f"{RELAY}/servers/unregister", {**gone, "control_credential": "no"}, 403)
    await checked.post(f"{RELAY}/servers/unregister", gone)


async def _cancel(checked: Checked) -> None:
    node, credential = await _register(checked)
    names = {"client_public_key": "client", "request_id": "r2"}
    sent = {**names, **SEALED, "server_public_key": node, "cancel_token": "t"}
    await checked.post(f"{RELAY}/requests", sent)
    await checked.post(f"{RELAY}/requests/cancel", {**names, "cancel_token": "wrong"}, 403)
    await checked.post(f"{RELAY}/requests/cancel", {**names, "cancel_token": "t"})
    await checked.post(f"{RELAY}/responses/retrieve", names, 410)
    await checked.post("/unregister", {"server_public_key": node, "control_credential": credential})
    await checked.post(f"{RELAY}/unregister", {"server_public_key": node}, 401)
    await checked.post(f"{RELAY}/unregister", {"server_public_key": node}, headers=OPERATOR)


async def _facade(checked: Checked, url: str) -> None:
    chat: Json = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    for base in ("/api/v1", "/v1"):
        await checked.post(f"{base}/chat/completions", chat, 503)
        await checked.post(f"{base}/chat/completions", {}, 400)
        await checked.post(f"{base}/completions", {}, 400)
    caller = await asyncio.to_thread(Identity.create)
    async with serving_node(url):
        for base in ("/api/v1", "/v1"):
            await checked.post(f"{base}/chat/completions", {**chat, "metadata": {"a": "b"}})
            await checked.post(f"{base}/completions", {"model": MODEL, "prompt": "hi"})
        key = (await checked.get("/v1/public-key"))["public_key"]
        messages: Any = chat["messages"]
        sealed = envelope.seal(messages, key)
        parts = {"ciphertext": sealed.ciphertext, "cipherkey": sealed.cipherkey, "iv": sealed.iv}
        body = {"model": MODEL, "encrypted": True, "client_public_key": caller.public}
        await checked.post("/v1/chat/completions", {**body, "messages": parts})


@pytest.mark.parametrize(
    ("able", "status"),
    [
        ({"supported_model_ids": ["m"]}, 200),
        ({"model_ids": ["m"], "context_tier": "64k-full"}, 200),
        ({"model_ids": ["m"], "context_tier": "9k"}, 400),
        ({"model_ids": []}, 400),
        ({"context_tier": "8k-fast"}, 400),
        ({}, 400),
    ],
)
async def test_document_takes_the_capabilities_that_the_relay_takes(
    checked: Checked, able: Json, status: int
) -> None:
    body = {"server_public_key": "k", "capabilities": able}
    path = f"{RELAY}/servers/register"
    assert bool(CONTRACT.objections(path, body)) == (status == 400)
    answer = await checked.post(path, body, status)
    if "control_credential" in answer:
        proof = {"server_public_key": "k", "control_credential": answer["control_credential"]}
        await checked.post(f"{RELAY}/servers/unregister", proof)


async def test_control_without_a_credential_is_forbidden_not_malformed(checked: Checked) -> None:
    body = {"server_public_key": "k", "request_id": "r"}
    assert CONTRACT.objections(f"{RELAY}/servers/control", body) == []
    await checked.post(f"{RELAY}/servers/control", body, 403)
    assert CONTRACT.objections(f"{RELAY}/servers/control", {"request_id": "r"})


async def _register(checked: Checked) -> tuple[str, str]:
    """Key and credential of a node that only exists on paper."""
    node = ComputeNode(RelayConnection(checked.http, ""), Identity.create(), (MODEL,))
    body = {"server_public_key": node.identity.public, "capabilities": node.capabilities}
    answer = await checked.post(f"{RELAY}/servers/register", body)
    return node.identity.public, answer["control_credential"]


@pytest.mark.timeout(360)
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    """Calls made from the document, right and wrong ones, for half a minute."""
    settings = {
        "API_RATE_LIMIT": "off",
        "API_DAILY_QUOTA": "off",
        "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": "0.05",
    }
    checks = (
        "status_code_conformance", "content_type_conformance", "response_schema_conformance",
        "response_headers_conformance", "unsupported_method", "allow_header_conformance",
    )  # fmt: skip
    with relay_process(**settings) as relay:
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run", str(DOCUMENT),
            "--url", relay.url, "--checks", ",".join(checks), "--phases", "coverage,fuzzing",
            "--max-time", "30", "--max-examples", "20", "--suppress-health-check", "all",
            "--warnings", "off", "--no-color",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout
        logs = relay.logs
    calls = [line for line in logs if line["message"] == "http.request"]
    assert len(calls) > 500
    assert [line for line in calls if line["http_status"] == 500] == []
    assert [line for line in logs if line["message"] == "handler failed"] == []
