"""Every state a relay can be in, as kubectl and kstatus read it."""

from functools import partial

import pytest

from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet, Fate
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.programs.kstatus import verdicts
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_cluster.subjects.relays import REPOSITORY, Relays

pytestmark = pytest.mark.usefixtures("cluster_operator")

FATES = {
    "serves": Fate.READY,
    "stopped": Fate.READY,
    "paused": Fate.READY,
    "held-back": Fate.READY,
    "starts": Fate.PENDING,
    "pulls": Fate.UNPULLABLE,
    "crashes": Fate.CRASHING,
    "late": Fate.UNREADY,
    "rolls-back": Fate.READY,
    "taken": Fate.READY,
}
REASONS = {
    "serves": ("Available", "Current"),
    "stopped": ("ScaledToZero", "Current"),
    "paused": ("Available", "Current"),
    "held-back": ("Paused", "Failed"),
    "starts": ("PodUnschedulable", "InProgress"),
    "pulls": ("ImagePullFailed", "InProgress"),
    "crashes": ("ContainerCrashing", "InProgress"),
    "late": ("RolloutDeadlineExceeded", "Failed"),
    "rolls-back": ("RolledBack", "Failed"),
    "taken": ("ResourceNameConflict", "Failed"),
}
DEADLINE = {"deadlineSeconds": 10, "enabled": True}
BAD = f"sha256:{'b' * 64}"


def digest(name: str) -> str:
    return f"sha256:{list(FATES).index(name):064}"


def image(name: str) -> dict[str, str]:
    return {"digest": digest(name)}


def test_kstatus_and_kubectl_wait_read_every_state_right(
    kubelet: FakeKubelet, relays: Relays, kubectl: Kubectl, eventually: Eventually
) -> None:
    kubelet.fates = {f"{REPOSITORY}@{digest(name)}": fate for name, fate in FATES.items()}
    kubelet.fates[f"{REPOSITORY}@{BAD}"] = Fate.CRASHING
    relays.write({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "taken"}})
    more: dict[str, dict[str, object]] = {
        "stopped": {"replicas": 0},
        "late": {"rollback": DEADLINE},
    }
    for name in FATES:
        if name != "rolls-back":
            relays.apply(name, image=image(name), **more.get(name, {}))
    relays.apply("rolls-back", image=image("rolls-back"), rollback=DEADLINE)
    for name in ("paused", "held-back", "rolls-back"):
        eventually(partial(relays.when, name, Ready="True"))
    relays.apply("rolls-back", image={"digest": BAD}, rollback=DEADLINE)
    relays.apply("paused", image=image("paused"), paused=True)
    relays.apply("held-back", image=image("serves"), paused=True)
    found = [
        eventually(partial(relays.when, name, Ready=reason), seconds=60)
        for name, (reason, _) in REASONS.items()
    ]
    wanted = {name: verdict for name, (_, verdict) in REASONS.items()}
    assert verdicts(found) == wanted
    ready = {name for name, verdict in wanted.items() if verdict == "Current"}
    for name in FATES:
        # What is Ready is seen at once, but on a busy machine not within 0.2 s.
        limit = "--timeout=30s" if name in ready else "--timeout=0.2s"
        waited = kubectl("wait", "--for=condition=Ready", f"tpr/{name}", limit)
        assert (waited.returncode == 0) == (name in ready), waited.stderr


def test_nothing_is_current_before_its_newest_spec_was_seen(
    cluster_operator: OperatorProcess,
    kubelet: FakeKubelet,
    relays: Relays,
    kubectl: Kubectl,
    eventually: Eventually,
) -> None:
    del kubelet
    cluster_operator.pause()
    try:
        relays.apply(image=image("serves"))
        assert verdicts([relays.read()]) == {"relay": "InProgress"}, "no operator has seen it yet"
    finally:
        cluster_operator.resume()
    eventually(lambda: relays.when(Ready="True"))
    cluster_operator.pause()
    try:
        relays.apply(image=image("stopped"))
        stale = relays.read()
        assert stale["status"]["observedGeneration"] < stale["metadata"]["generation"]
        assert verdicts([stale]) == {"relay": "InProgress"}
        waited = kubectl("wait", "--for=condition=Ready", "tpr/relay", "--timeout=1s")
        assert "timed out" in waited.stderr
    finally:
        cluster_operator.resume()
    waited = kubectl("wait", "--for=condition=Ready", "tpr/relay", "--timeout=60s")
    assert waited.returncode == 0, waited.stderr
    assert relays.read()["status"]["image"]["running"] == digest("stopped")


def test_a_relay_that_is_deleted_takes_its_children_along(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    del kubelet
    relays.apply()
    relay = eventually(lambda: relays.when(Ready="True"))
    assert "finalizers" not in relay["metadata"]
    assert not [k for k in relay["metadata"].get("annotations", {}) if "token" in k]
    relays.delete()
    eventually(lambda: not relays.all("tpr,deploy,service,networkpolicy"))


def test_two_relays_share_a_namespace_and_names_may_be_as_long_as_allowed(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    long, longer = f"a{'b' * 62}", f"a{'b' * 61}c"
    gpu = {"mode": "Headless", "addresses": ["192.0.2.1", "2001:db8::1"]}
    for number, name in enumerate((long, longer)):
        relays.apply(
            name,
            image={"digest": kubelet.digest(f"image:{number}")},
            gpu={**gpu, "serviceName": f"gpu-{number}"},
            ingress={"domain": f"{number}.example.com"},
        )
    for number, name in enumerate((long, longer)):
        relay = eventually(partial(relays.when, name, Ready="True"))
        assert relay["status"]["image"]["running"] == kubelet.digest(f"image:{number}")
        assert relay["status"]["host"] == f"relay.{number}.example.com"
    owners = {
        (one["kind"], one["metadata"]["name"]): one["metadata"]["ownerReferences"][0]["name"]
        for one in relays.all("deploy,service,ingress,networkpolicy,endpointslice")
        if "ownerReferences" in one["metadata"]
        and one["metadata"]["labels"].get("app.kubernetes.io/managed-by") == "tokenplace-operator"
    }
    assert sorted(owners.values()).count(long) == sorted(owners.values()).count(longer) > 4
    for number, name in enumerate((long, longer)):
        pods = [
            pod
            for pod in relays.all("pods")
            if pod["metadata"]["labels"]["app.kubernetes.io/instance"] == name
        ]
        images = {pod["spec"]["containers"][0]["image"] for pod in pods}
        assert images == {f"{REPOSITORY}@{kubelet.digest(f'image:{number}')}"}
