"""Reads other than the children, and when: pods only where they may have changed."""

import pytest

from tokenplace_harness.states import NOW, make_relay
from tokenplace_harness.states.cases import DIGEST, make_deployment, pod
from tokenplace_harness.states.conditions import REACHED
from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.cache.optional_apis import OptionalApis
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.plan import Plan
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.certificates import Certificates
from tokenplace_operator.observe.gpu_addresses import Resolver
from tokenplace_operator.observe.upstream_health import UpstreamProbe
from tokenplace_operator.reconcile.observer import Observer
from tokenplace_operator.status.compute import compute_status
from tokenplace_operator.status.observed import Observed

KEY = ("default", "relay")
OTHER = f"sha256:{'b' * 64}"
TAG: dict[str, object] = {"image": {"tag": "v1"}}
GPU: dict[str, object] = {"gpu": {"host": "gpu.example.com"}}


class Cluster:
    """Its pods, and the number of times that they were read."""

    def __init__(self, *pods: Object) -> None:
        self.pods = list(pods)
        self.read = 0

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        assert (kind.kind, namespace) == ("Pod", "default")
        assert "relay" in label_selector
        self.read += 1
        return self.pods, "1"

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        raise AssertionError((kind, namespace, name))

    async def serves(self, kind: Kind) -> bool:
        raise AssertionError(kind)


def observer(cluster: Cluster, deployment: Object | None) -> Observer:
    metrics = Metrics()
    store = Store(metrics)
    if deployment is not None:
        named = {"name": "relay", "namespace": "default", "uid": "d", "resourceVersion": "1"}
        metadata = {**deployment["metadata"], **named}
        store.put(
            {**deployment, "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
        )
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "relay", "namespace": "default", "uid": "s", "resourceVersion": "1"},
        "spec": {"clusterIP": "127.0.0.1"},
    }
    store.put(service)

    def clock() -> float:
        return 0.0

    return Observer(
        cluster,
        store,
        Resolver(clock, metrics),
        UpstreamProbe(clock),
        Certificates(cluster, clock),
        OptionalApis(cluster, store),
    )


def running(digest: str = DIGEST, address: str = "") -> Object:
    found = pod(ready=True)
    found["status"]["containerStatuses"][0]["imageID"] = f"ghcr.io/relay@{digest}"
    where = {"podIP": address} if address else {}
    return {**found, "status": {**found["status"], "phase": "Running", **where}}


def told(spec: dict[str, object], pods: tuple[Object, ...] | None, before: Object) -> Object:
    """The status that follows from these pods."""
    seen = Observed(plan=Plan(), deployment=make_deployment(), now=NOW, pods=pods, previous=before)
    return compute_status(make_relay(**spec), seen)


@pytest.mark.parametrize("spec", [TAG, {**TAG, **GPU}])
async def test_pods_behind_a_tag_are_read_once_by_each_process(spec: dict[str, object]) -> None:
    before = told(spec, None, {"conditions": [REACHED], "image": {"running": DIGEST}})
    before = told(spec, (running(),), before)
    cluster = Cluster(running())
    watching = observer(cluster, make_deployment())
    pods = await watching.pods(make_relay(**spec), before)
    assert told(spec, pods, before) == before, "a restart costs no write"
    assert await watching.pods(make_relay(**spec), before) is None
    assert cluster.read == 1

    # The tag was moved and the pod replaced while no operator ran.
    cluster.pods = [running(OTHER)]
    watching = observer(cluster, make_deployment())
    after = told(spec, await watching.pods(make_relay(**spec), before), before)
    assert after["image"]["running"] == OTHER
    pinned = next(one for one in after["conditions"] if one["type"] == "ImagePinned")
    assert f"set spec.image.digest to {OTHER}" in pinned["message"]


async def test_pods_behind_a_digest_are_not_read_by_a_new_process() -> None:
    cluster = Cluster(running())
    before = told({}, (running(),), {})
    assert await observer(cluster, make_deployment()).pods(make_relay(), before) is None
    assert cluster.read == 0


@pytest.mark.parametrize("pods", [(), (pod(waiting="CrashLoopBackOff"),)])
async def test_without_a_running_pod_no_request_is_made(pods: tuple[Object, ...]) -> None:
    watching = observer(Cluster(*pods), make_deployment(available=0))
    assert watching.upstream(make_relay(**GPU), pods) is None
    assert not watching.upstreams.is_asking(KEY)


@pytest.mark.parametrize("pods", [None, (running(),), (running(address="127.0.0.1"),)])
async def test_a_running_pod_is_asked_or_else_the_service(pods: tuple[Object, ...] | None) -> None:
    watching = observer(Cluster(), make_deployment())
    relay = make_relay(**GPU, port=65535, service={"port": 65535})
    assert watching.upstream(relay, pods) is None
    await watching.upstreams.answered()
    found = watching.upstream(relay, pods)
    assert found is not None
    assert not found.settled
    assert watching.upstreams.wait(KEY) == 5.0

    assert watching.upstream(relay, ()) is None
    assert watching.upstream(relay, pods) is None, "what an earlier pod said is forgotten"
    await watching.upstreams.answered()
