"""An API server, or a proxy before it, that answers 200 with what was not asked for."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tokenplace_cluster.faults.canned_server import Canned, canned
from tokenplace_operator.api.kinds import LEASE, SERVICE, SERVICE_MONITOR
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import Unavailable
from tokenplace_operator.metrics import Metrics

SERVICE_A = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "team", "name": "a"}}

CALLS: dict[str, Callable[[Kube], Awaitable[object]]] = {
    "list": lambda kube: kube.list(SERVICE),
    "serves": lambda kube: kube.serves(SERVICE_MONITOR),
    "get": lambda kube: kube.get(LEASE, "team", "a"),
    "apply": lambda kube: kube.apply(SERVICE_A),
}


@pytest.fixture
async def server() -> AsyncIterator[Canned]:
    async with canned() as found:
        yield found


@pytest.fixture
async def kube(server: Canned) -> AsyncIterator[Kube]:
    cluster = {"name": "a", "cluster": {"server": server.url}}
    context = {"name": "a", "context": {"cluster": "a", "user": "a"}}
    login = {
        "clusters": [cluster],
        "contexts": [context],
        "users": [{"name": "a", "user": {"token": "t"}}],
        "current-context": "a",
    }
    async with Kube.connect(Metrics(), kubeconfig=login) as found:
        yield found


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b'{"kind":"Status","status":"Success"}',
        b'{"metadata":null,"items":null,"resources":null}',
        b'{"metadata":{},"items":[{}],"resources":[{}]}',
        b'{"metadata":[],"items":[null],"resources":[null]}',
    ],
)
async def test_an_answer_of_another_shape_is_none(
    server: Canned, kube: Kube, call: str, answer: bytes
) -> None:
    server.pieces = [answer]
    with pytest.raises(Unavailable):
        await CALLS[call](kube)


async def test_a_list_without_objects_or_version_is_none(server: Canned, kube: Kube) -> None:
    server.pieces = [b'{"metadata":{},"items":[]}']
    with pytest.raises(Unavailable, match="wrong shape"):
        await kube.list(SERVICE)
    server.pieces = [b'{"metadata":{"resourceVersion":"7"},"items":[]}']
    assert await kube.list(SERVICE) == ([], "7")
