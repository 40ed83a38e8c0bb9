"""Liveness, readiness, release, diagnostics and the directory, on a real relay process."""

import hashlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio

from tokenplace_harness.peers import serving_node
from tokenplace_harness.process import RelayProcess, relay_process
from tokenplace_harness.wait import eventually
from tokenplace_relay import __version__
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Json, RelayConnection
from tokenplace_relay.protocol.envelope import Identity

NODE_KEYS = {
    "server_public_key", "age_seconds", "next_ping_in_x_seconds", "queue_depth", "in_flight_count",
    "max_concurrency", "load_score", "capabilities",
}  # fmt: skip
QUIET_ROUTES = [
    "/", "/livez", "/healthz", "/metrics", "/relay/diagnostics", "/api/v1/meta", "/api/v1/version",
    "/api/v1/health", "/v1/health", "/api/v1/relay/server-nodes", "/api/v1/server-providers",
    "/api/v1/community/providers", "/api/v1/community/leaderboard",
    "/api/v1/community/contributions/summary",
]  # fmt: skip


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process(TOKENPLACE_RELAY_PUBLIC_URL="https://relay.example.com") as process:
        yield process


@pytest_asyncio.fixture
async def http(relay: RelayProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(relay.url) as session:
        yield session


async def get(http: aiohttp.ClientSession, path: str, **headers: str) -> Json:
    async with http.get(path, headers=headers) as response:
        assert response.status == 200, path
        found: Json = await response.json()
        return found


async def _busy(http: aiohttp.ClientSession) -> Json | None:
    """The entry of the node that has work; the list may be a second old."""
    nodes = (await get(http, "/relay/diagnostics"))["registered_compute_nodes"]
    return next((node for node in nodes if node["queue_depth"]), None)


async def _said(relay: RelayProcess, message: str) -> bool:
    return bool(relay.events(message))


async def test_healthz_of_a_relay_without_nodes(http: aiohttp.ClientSession) -> None:
    assert await get(http, "/healthz") == {
        "status": "ok",
        "upstream": "",
        "upstreamHealthRequired": False,
        "relayOnly": True,
        "gpuHost": "",
        "activeUpstreamServers": [],
        "requiredUpstreamServers": [],
        "configuredUpstreamServers": [],
        "knownServers": 0,
        "registeredServers": [],
        "publicBaseUrl": "https://relay.example.com",
        "details": {"knownServers": "empty"},
    }


async def test_nodes_are_shown_with_load_and_without_keys(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    async with serving_node(relay.url) as one, serving_node(relay.url) as other:
        health = await get(http, "/healthz")
        found = await get(http, "/relay/diagnostics")
        keys = [node.identity.public for node in (one, other)]
        async with http.get("/relay/diagnostics") as response:
            text = await response.text()
    assert "details" not in health
    assert health["knownServers"] == 2 == len(health["registeredServers"])
    for name in ("registered_compute_nodes", "api_v1_registered_compute_nodes"):
        assert found[f"total_{name}"] == 2 == len(found[name])
    entries = found["registered_compute_nodes"]
    assert {frozenset(entry) for entry in entries} == {frozenset(NODE_KEYS)}
    hashes = sorted(hashlib.sha256(key.encode()).hexdigest()[:12] for key in keys)
    assert [entry["server_public_key"] for entry in entries] == [f"sha256:{h}" for h in hashes]
    assert entries[0]["capabilities"] == one.capabilities
    assert (entries[0]["queue_depth"], entries[0]["in_flight_count"]) == (0, 0)
    assert entries[0]["load_score"] == 0.0
    assert not any(key in text for key in keys)


async def test_a_waiting_request_is_shown_as_load(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    connection = RelayConnection(http, relay.url)
    node = ComputeNode(connection, Identity.create(), ("m",))
    await node.register()
    body = {"client_public_key": "client", "server_public_key": node.identity.public}
    envelope = {"ciphertext": "c", "cipherkey": "k", "iv": "i", "request_id": "load"}
    await connection.post("requests", {**body, **envelope})
    entry = await eventually(lambda: _busy(http))
    assert entry is not None
    assert entry["load_score"] == 1.0
    assert entry["max_concurrency"] == 1
    await node.unregister()
    assert (await get(http, "/relay/diagnostics"))["total_registered_compute_nodes"] == 0


async def test_meta_has_exactly_the_allowed_keys(http: aiohttp.ClientSession) -> None:
    for path in ("/api/v1/meta", "/api/v1/version"):
        assert await get(http, path) == {
            "environment": "dev",
            "version": __version__,
            "label": f"dev {__version__}",
        }
    assert (await get(http, "/api/v1/meta", Host="token.place"))["environment"] == "prod"
    staging = await get(http, "/api/v1/meta", Host="staging.token.place:443")
    assert staging["label"] == f"staging {__version__}"


async def test_meta_of_a_release() -> None:
    release = {
        "TOKENPLACE_RELEASE_VERSION": "1.2.3",
        "TOKENPLACE_DEPLOY_ENV": "production",
        "TOKENPLACE_GIT_SHA": "0123456789abcdef0123",
        "TOKENPLACE_IMAGE_TAG": "main-0123456",
    }
    with relay_process(**release) as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            shown = await get(http, "/api/v1/meta")
            async with http.get("/metrics") as response:
                scrape = await response.text()
    assert shown == {
        "environment": "prod", "version": "1.2.3", "label": "prod 1.2.3", "ref": "0123456789ab",
    }  # fmt: skip
    assert 'tokenplace_build_info{revision="0123456789ab",version="1.2.3"} 1.0' in scrape


async def test_health_of_the_api(http: aiohttp.ClientSession) -> None:
    for path in ("/api/v1/health", "/v1/health"):
        body = await get(http, path)
        assert body.pop("timestamp") > 1_700_000_000
        assert body == {"status": "ok", "version": "v1", "service": "token.place"}


async def test_directory_reports_that_nothing_is_listed(http: aiohttp.ClientSession) -> None:
    empty = {"object": "list", "data": []}
    for path in ("server-providers", "community/providers", "community/leaderboard"):
        assert await get(http, f"/api/v1/{path}") == empty
    summary = await get(http, "/api/v1/community/contributions/summary")
    assert summary["total_submissions"] == 0
    nodes = await get(http, "/api/v1/relay/server-nodes")
    assert nodes == {"configured_servers": [], "primary": None, "secondary": None, "total": 0}
    async with http.post("/api/v1/community/contributions", json={}) as response:
        assert response.status == 501
        assert (await response.json())["error"]["code"] == "contributions_not_kept"


@pytest.mark.parametrize("path", QUIET_ROUTES)
async def test_head_follows_get(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as whole, http.head(path) as head:
        assert head.status == whole.status == 200
        assert head.headers["Content-Type"] == whole.headers["Content-Type"]
        assert await head.read() == b""


@pytest.mark.parametrize("path", ["/healthz", "/relay/diagnostics", "/api/v1/meta", "/metrics"])
async def test_what_changes_is_not_cached(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_draining_relay_is_not_ready() -> None:
    with relay_process(RELAY_DRAIN_DELAY_SECONDS="30") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            await get(http, "/healthz")
            relay.terminate()
            await eventually(lambda: _said(relay, "draining: readiness is red"))
            async with http.get("/healthz") as response:
                assert response.status == 503
                assert await response.json() == {
                    "status": "draining", "details": {"shutdown": True},
                }  # fmt: skip
                assert response.headers["Retry-After"] == "0"
                assert response.headers["Cache-Control"] == "no-store"
            assert await get(http, "/livez") == {"status": "alive"}
