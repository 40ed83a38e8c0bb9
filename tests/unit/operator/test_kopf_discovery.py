"""kopf's view of an API server that does not list all kinds."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tokenplace_cluster.faults.canned_server import Canned, canned
from tokenplace_operator.api import kinds
from tokenplace_operator.cache.kopf_discovery import DiscoveryGuard

APPS = {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}]}
POLICY = {"name": "policy", "versions": [{"groupVersion": "policy/v1", "version": "v1"}]}
OLD_POLICY = {**POLICY, "versions": [{"groupVersion": "policy/v1beta1", "version": "v1beta1"}]}
BUDGETS = "poddisruptionbudgets"


@pytest.fixture
async def server() -> AsyncIterator[Canned]:
    wanted = kinds.SERVICE, kinds.DEPLOYMENT, kinds.REPLICA_SET, kinds.DISRUPTION_BUDGET
    async with canned(DiscoveryGuard(wanted)) as found:
        yield found


def groups(*listed: dict[str, Any]) -> bytes:
    return json.dumps({"kind": "APIGroupList", "groups": listed}).encode()


def resources(*listed: str) -> bytes:
    found = [{"name": name, "verbs": ["list", "watch"]} for name in listed]
    return json.dumps({"kind": "APIResourceList", "resources": found}).encode()


@pytest.mark.parametrize("root", ["", "/k8s/clusters/c-1"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/apis", groups(APPS, POLICY, {"name": "batch", "versions": []})),
        ("/apis/apps/v1", resources("deployments", "deployments/status", "replicasets")),
        ("/api/v1", resources("services", "pods")),
        ("/apis/batch/v1", resources()),
        ("/api", b'{"versions":[]}'),
        ("/apis/apps/v1/deployments", b'{"items":[]}'),
    ],
)
async def test_a_whole_list_passes(server: Canned, root: str, path: str, body: bytes) -> None:
    server.pieces = [body]
    async with server.session.get(root + path) as answer:
        assert await answer.json() == json.loads(body)


@pytest.mark.parametrize("root", ["", "/k8s/clusters/c-1"])
@pytest.mark.parametrize(
    ("path", "body", "missing"),
    [
        ("/apis", groups(APPS), "policy/v1"),
        ("/apis", groups(APPS, OLD_POLICY), "policy/v1"),
        ("/apis", groups(), "apps/v1, policy/v1"),
        ("/apis/apps/v1", resources("deployments"), "replicasets"),
        ("/apis/policy/v1", resources(f"{BUDGETS}/status"), BUDGETS),
        ("/api/v1", b"<html>", "services"),
        ("/api/v1", b'{"resources":{}}', "services"),
    ],
)
async def test_a_missing_kind_is_a_failed_connection(
    server: Canned, root: str, path: str, body: bytes, missing: str
) -> None:
    server.pieces = [body]
    with pytest.raises(aiohttp.ClientConnectionError, match=rf"does not list {missing}$"):
        await server.session.get(root + path)


async def test_a_version_that_is_not_there_lacks_all_its_kinds(server: Canned) -> None:
    server.status, server.pieces = 404, [b"404 page not found"]
    with pytest.raises(aiohttp.ClientConnectionError, match=r"list deployments, replicasets$"):
        await server.session.get("/apis/apps/v1")


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_another_status_is_passed_on(server: Canned, status: int) -> None:
    server.status, server.pieces = status, [b"why"]
    async with server.session.get("/apis/apps/v1") as answer:
        assert answer.status == status
        assert await answer.text() == "why"
