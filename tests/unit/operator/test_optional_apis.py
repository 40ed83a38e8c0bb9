"""Optional APIs: noticed when they come, dropped when they go, listed only where used."""

import asyncio

import pytest

from tokenplace_operator.api.kinds import (
    HTTP_ROUTE,
    PROMETHEUS_RULE,
    RELAY,
    SERVICE_MONITOR,
    Key,
    Kind,
    Object,
)
from tokenplace_operator.cache.optional_apis import OptionalApis
from tokenplace_operator.cache.store import Store
from tokenplace_operator.kube.errors import Forbidden, NotFound, Unavailable
from tokenplace_operator.metrics import Metrics


class Cluster:
    """Serves some kinds and has some objects."""

    def __init__(self) -> None:
        self.served: set[Kind] = set()
        self.objects: list[Object] = []
        self.version = 1
        self.listed: list[str] = []
        self.failure: NotFound | Forbidden | Unavailable | None = None
        self.gate: asyncio.Event | None = None
        self.asked = 0

    async def serves(self, kind: Kind) -> bool:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        return kind in self.served

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        assert label_selector
        self.listed.append(f"{kind.kind}@{namespace}")
        if self.failure is not None:
            raise self.failure
        self.version += 1
        return [o for o in self.objects if o["kind"] == kind.kind], str(self.version)

    def make(self, kind: Kind, name: str) -> Object:
        self.version += 1
        owner = {
            "apiVersion": "token.place/v1alpha1",
            "kind": "TokenplaceRelay",
            "name": "relay",
            "uid": "u",
            "controller": True,
        }
        metadata = {
            "namespace": "team",
            "name": name,
            "resourceVersion": str(self.version),
            **({} if kind == RELAY else {"ownerReferences": [owner]}),
        }
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def store(cluster: Cluster) -> Store:
    store = Store(Metrics())
    store.put(cluster.make(RELAY, "relay"))
    return store


@pytest.fixture
def queued() -> list[Key]:
    return []


@pytest.fixture
def apis(cluster: Cluster, store: Store, queued: list[Key]) -> OptionalApis:
    return OptionalApis(cluster, store, (), queued.append)


async def test_an_api_that_appears_concerns_every_relay(
    cluster: Cluster, apis: OptionalApis, queued: list[Key]
) -> None:
    await apis.refresh()
    assert (apis.present, queued) == (frozenset(), [])
    cluster.served = {SERVICE_MONITOR}
    await apis.refresh()
    assert apis.present == {SERVICE_MONITOR}
    assert queued == [("team", "relay")]


async def test_an_unused_kind_is_listed_once(cluster: Cluster, apis: OptionalApis) -> None:
    cluster.served = {SERVICE_MONITOR, HTTP_ROUTE}
    for _ in range(3):
        await apis.refresh()
    assert sorted(cluster.listed) == ["HTTPRoute@None", "ServiceMonitor@None"]


async def test_a_change_by_another_writer_is_noticed_at_the_next_refresh(
    cluster: Cluster, apis: OptionalApis, store: Store, queued: list[Key]
) -> None:
    cluster.served = {PROMETHEUS_RULE}
    cluster.objects = [cluster.make(PROMETHEUS_RULE, "relay")]
    await apis.refresh()
    queued.clear()
    await apis.refresh()
    assert queued == []
    cluster.objects = []
    await apis.refresh()
    assert queued == [("team", "relay")]
    assert store.all(PROMETHEUS_RULE) == []


async def test_an_api_that_vanishes_takes_its_objects_along(
    cluster: Cluster, apis: OptionalApis, store: Store, queued: list[Key]
) -> None:
    cluster.served = {PROMETHEUS_RULE}
    cluster.objects = [cluster.make(PROMETHEUS_RULE, "relay")]
    await apis.refresh()
    assert store.children("u")
    queued.clear()
    cluster.served = set()
    await apis.refresh()
    assert apis.present == frozenset()
    assert store.children("u") == []
    assert queued == [("team", "relay")]


async def test_a_kind_that_may_not_be_listed_is_there_all_the_same(
    cluster: Cluster, apis: OptionalApis
) -> None:
    cluster.served = {SERVICE_MONITOR, HTTP_ROUTE}
    cluster.failure = Forbidden(403, "", "no right")
    await apis.refresh()
    assert apis.present == {SERVICE_MONITOR, HTTP_ROUTE}


@pytest.mark.parametrize("failure", [NotFound(404, "", ""), Unavailable(429, "", "initializing")])
async def test_a_kind_whose_storage_comes_late_is_noticed_when_it_works(
    cluster: Cluster, apis: OptionalApis, queued: list[Key], failure: NotFound | Unavailable
) -> None:
    """The API server answers 429 for a while after a CRD was made again."""
    cluster.served = {SERVICE_MONITOR, HTTP_ROUTE}
    cluster.failure = failure
    await apis.refresh()
    assert len(cluster.listed) == 2, "one does not stop the other"
    assert (apis.present, queued) == (frozenset(), [])
    cluster.failure = None
    await apis.refresh()
    assert apis.present == {SERVICE_MONITOR, HTTP_ROUTE}
    assert queued == [("team", "relay")]


async def test_only_the_watched_namespaces_are_listed(cluster: Cluster, store: Store) -> None:
    cluster.served = {HTTP_ROUTE}
    await OptionalApis(cluster, store, ("a", "b")).refresh()
    assert cluster.listed == ["HTTPRoute@a", "HTTPRoute@b"]


async def test_concurrent_callers_share_a_refresh(cluster: Cluster, apis: OptionalApis) -> None:
    cluster.gate = asyncio.Event()
    looks = [asyncio.create_task(apis.refresh()) for _ in range(5)]
    await asyncio.sleep(0)
    cluster.gate.set()
    await asyncio.gather(*looks)
    assert cluster.asked == 4
