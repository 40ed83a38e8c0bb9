"""Autoscaling and drains on the real API server: who sets replicas, and that pods can go."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet, Fate
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects.relays import DIGEST, REPOSITORY, Relays
from tokenplace_operator.api.kinds import identity
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.api.spec.scaling import Autoscaling
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.apply import Applier
from tokenplace_operator.children.plan import plan
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.desired.autoscaler import autoscaler
from tokenplace_operator.desired.child import seal
from tokenplace_operator.desired.deployment import deployment
from tokenplace_operator.desired.disruption_budget import disruption_budget
from tokenplace_operator.desired.service_account import service_account
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import FieldConflict
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.facts import Facts

Object = dict[str, Any]
SCALED = {"maxReplicas": 1, "cpu": 60}


@pytest.mark.usefixtures("operator")
def test_with_an_autoscaler_the_operator_leaves_replicas_alone(
    relays: Relays,
    kubectl: Kubectl,
    control_plane: ControlPlane,
    namespace: str,
    eventually: Eventually,
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    relays.apply(autoscaling=SCALED)
    scaler = eventually(lambda: relays.read(kind="hpa"))
    assert scaler["spec"]["scaleTargetRef"]["name"] == "relay"
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    assert relays.read(kind="deployment")["spec"]["replicas"] == 1

    # As the autoscaler does, and others too: through the scale subresource.
    assert kubectl("scale", "deployment/relay", "--replicas=3").returncode == 0
    ready = eventually(lambda: relays.when(Ready="True", Available="True"), seconds=60)
    eventually(lambda: relays.read()["status"]["replicas"] == 3, seconds=60)
    since = audit.now()
    # An event and a change of the pods: either would let an operator that cares take it back.
    relays.patch({"metadata": {"labels": {"a": "b"}}})
    relays.apply(autoscaling=SCALED, podTemplate={"annotations": {"example.com/a": "b"}})
    eventually(
        lambda: (
            relays.read(kind="deployment")["spec"]["template"]["metadata"].get("annotations")
            == {"example.com/a": "b"}
        ),
        seconds=30,
    )
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    assert relays.read(kind="deployment")["spec"]["replicas"] == 3
    writes = audit.writes(control_plane.audit_log, namespace=namespace, since=since)
    applies = [one for one in writes if one.resource == "deployments" and not one.subresource]
    ours = [one for one in applies if "fieldManager=tokenplace-operator" in one.uri]
    assert len(ours) == 2, "the hand-over and the apply of the annotation"
    assert relays.events("FieldConflict") == []
    assert ready["status"]["conditions"]

    relays.apply(replicas=0, autoscaling=SCALED)
    eventually(lambda: relays.when(Ready="ScaledToZero"), seconds=60)
    assert relays.read(kind="deployment")["spec"]["replicas"] == 0
    assert relays.all("hpa") == []
    relays.apply()
    eventually(lambda: relays.when(Ready="Available"), seconds=60)
    assert relays.read(kind="deployment")["spec"]["replicas"] == 1


class Bench:
    """Applies children of relays that the kind refuses today, with the operator's own parts."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.metrics = Metrics()
        self.store = Store(self.metrics)
        self.namespace = namespace
        self.conflicts: list[FieldConflict] = []

    def relay(self, replicas: int, autoscaling: Autoscaling | None = None) -> Relay:
        metadata = {
            "name": "relay",
            "namespace": self.namespace,
            "uid": "00000000-0000-4000-8000-000000000000",
            "generation": 1,
        }
        spec = {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}}
        relay = parse({"metadata": metadata, "spec": spec})
        return replace(relay, replicas=replicas, autoscaling=autoscaling)

    async def apply(self, relay: Relay) -> None:
        wanted = [
            without_owner(seal(child))
            for child in (
                *service_account(relay),
                *deployment(relay, Facts()),
                *autoscaler(relay),
                *disruption_budget(relay),
            )
        ]
        live = {
            identity(child): found
            for child in wanted
            if (found := self.store.get(*identity(child))) is not None
        }
        todo = replace(plan(wanted, {}, (), relay.uid), new=())
        assert len(todo.apply) == len(wanted) >= len(live)
        backoff = WriteBackoff(time.monotonic, self.metrics)
        applier = Applier(self.kube, self.store, self.metrics, backoff, self.on_conflict)
        await applier.execute(todo)

    async def on_conflict(self, _: Object, conflicts: tuple[FieldConflict, ...]) -> None:
        self.conflicts.extend(conflicts)


def without_owner(child: Object) -> Object:
    """Its relay is not in the cluster, and the garbage collector would take the child at once."""
    metadata = {k: v for k, v in child["metadata"].items() if k != "ownerReferences"}
    return {**child, "metadata": metadata}


@pytest.fixture
async def bench(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    async with Kube.connect(Metrics()) as kube:
        yield Bench(kube, namespace)


async def test_replicas_are_handed_over_without_scaling_down(
    bench: Bench, kubectl: Kubectl, relays: Relays, eventually: Eventually
) -> None:
    def replicas() -> tuple[int, set[str]]:
        found = json.loads(
            kubectl("get", "deployment", "relay", "-ojson", "--show-managed-fields").stdout
        )
        owners = {
            entry["manager"]
            for entry in found["metadata"]["managedFields"]
            if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
        }
        return found["spec"]["replicas"], owners

    await bench.apply(bench.relay(replicas=4))
    assert replicas() == (4, {"tokenplace-operator"})
    eventually(lambda: relays.all("replicasets"))
    scaled = bench.relay(replicas=4, autoscaling=Autoscaling(2, 6, 60, 0))
    await bench.apply(scaled)
    assert replicas() == (4, {"tokenplace-operator/hand-over"})
    done = relays.read(kind="deployment")["metadata"]["generation"]
    eventually(
        lambda: relays.read(kind="deployment")["status"].get("observedGeneration", 0) >= done
    )
    (below,) = relays.all("replicasets")
    assert below["metadata"]["generation"] == 1, "it never had another number"

    assert kubectl("scale", "deployment/relay", "--replicas=6").returncode == 0
    count, owners = replicas()
    assert count == 6
    assert not any(owner.startswith("tokenplace-operator") for owner in owners)
    await bench.apply(scaled)
    assert replicas()[0] == 6
    assert bench.conflicts == []

    # And back: the spec sets it again, and an Event names the last writer.
    await bench.apply(bench.relay(replicas=2))
    assert replicas() == (2, {"tokenplace-operator"})
    assert [(one.field, one.manager) for one in bench.conflicts] == [(".spec.replicas", "kubectl")]


def evict(kubectl: Kubectl, pod: str) -> str:
    """Evict as `kubectl drain` does; the API server's rejection, or nothing."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod},
        "deleteOptions": {"gracePeriodSeconds": 0},
    }
    namespace = json.loads(kubectl("get", "pod", pod, "-ojson").stdout)["metadata"]["namespace"]
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    done = kubectl("create", "--raw", path, "--filename=-", given=json.dumps(eviction))
    return done.stderr


async def test_a_drain_takes_every_pod_one_after_the_other(
    bench: Bench, kubectl: Kubectl, kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    """By the real eviction API and its disruption controller; only the kubelet is played."""
    await bench.apply(bench.relay(replicas=3))

    def ready() -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in relays.all("pods")
            if any(
                one["type"] == "Ready" and one["status"] == "True"
                for one in pod.get("status", {}).get("conditions", [])
            )
            and "deletionTimestamp" not in pod["metadata"]
        ]

    def allowed() -> bool:
        status = relays.read(kind="pdb").get("status", {})
        return len(ready()) == 3 and status.get("disruptionsAllowed") == 1

    eventually(allowed, seconds=60)
    before = set(ready())
    image = f"{REPOSITORY}@{DIGEST}"
    for pod, following in zip(sorted(before), [*sorted(before)[1:], ""], strict=True):
        kubelet.fates[image] = Fate.PENDING  # What takes its place is not ready at once.
        assert evict(kubectl, pod) == ""
        if following:
            refused = evict(kubectl, following)
            assert "disruption budget" in refused, "two at once would be one too many"
        kubelet.fates[image] = Fate.READY
        eventually(allowed, seconds=60)
    assert set(ready()).isdisjoint(before)


async def test_pods_that_do_not_serve_never_hold_up_a_drain(
    bench: Bench, kubectl: Kubectl, relays: Relays, eventually: Eventually
) -> None:
    """Nothing plays the kubelet: no pod is ever ready."""
    await bench.apply(bench.relay(replicas=3))
    eventually(lambda: len(relays.all("pods")) == 3, seconds=60)
    pods = relays.all("pods")
    eventually(lambda: relays.read(kind="pdb").get("status", {}).get("expectedPods") == 3)
    assert [evict(kubectl, pod["metadata"]["name"]) for pod in pods] == ["", "", ""]


async def test_the_only_pod_of_a_relay_can_always_be_evicted(
    bench: Bench, kubectl: Kubectl, kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    del kubelet
    await bench.apply(bench.relay(replicas=1))
    eventually(lambda: relays.all("pods"), seconds=60)
    (pod,) = relays.all("pods")
    assert relays.all("pdb") == []
    assert evict(kubectl, pod["metadata"]["name"]) == ""
