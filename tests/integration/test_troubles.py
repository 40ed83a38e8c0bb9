"""Mistakes of users and problems of clusters: each is reported once, with the next step."""

import copy

import pytest

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet, Fate
from tokenplace_cluster.control_plane.objects import Object
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_cluster.subjects.relays import REPOSITORY, Relays

RETRY_SECONDS = 60
"""What was refused is tried again after seconds, then less and less often."""


def message(relay: Object, kind: str = "Ready") -> str:
    return str(next(c["message"] for c in relay["status"]["conditions"] if c["type"] == kind))


@pytest.mark.usefixtures("operator")
def test_an_unmanaged_object_is_never_changed(relays: Relays, eventually: Eventually) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gpu-server", "labels": {"app": "theirs"}},
        "spec": {"ports": [{"port": 1234}]},
    }
    relays.write(service)
    before = relays.read("gpu-server", "service")
    relays.apply(gpu={"mode": "ExternalName", "host": "gpu.example.com"})
    relay = eventually(lambda: relays.when(Ready="ResourceNameConflict", Stalled="True"))
    assert "belongs to another owner (field manager kubectl" in message(relay)
    assert relays.read("gpu-server", "service") == before
    assert len(relays.events("ResourceNameConflict")) == 1
    relays.delete("gpu-server", "service")
    relays.apply(gpu={"mode": "ExternalName", "host": "gpu.example.com", "serviceName": "mine"})
    eventually(lambda: relays.when(Ready="True"), seconds=RETRY_SECONDS)


@pytest.mark.usefixtures("operator")
def test_a_missing_secret_is_named(
    kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> None:
    digest = kubelet.digest("needs a secret")
    kubelet.fates[f"{REPOSITORY}@{digest}"] = Fate.MISCONFIGURED
    environment = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "missing", "key": "a"}}}]
    relays.apply(image={"digest": digest}, podTemplate={"env": environment})
    relay = eventually(lambda: relays.when(Ready="ContainerConfigError"))
    assert 'secret "missing" not found' in message(relay)
    assert len(relays.events("ContainerConfigError")) == 1
    # The kubelet tries again by itself once the Secret is there.
    kubelet.fates.clear()
    eventually(lambda: relays.when(Ready="True"))


@pytest.mark.usefixtures("operator")
def test_a_quota_on_children_is_reported_and_its_end_is_noticed(
    relays: Relays, eventually: Eventually
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight"},
        "spec": {"hard": {"count/services": "0"}},
    }
    relays.write(quota)
    eventually(lambda: relays.read("tight", "quota")["status"].get("hard"))
    relays.apply()
    relay = eventually(lambda: relays.when(Ready="ApplyRejected", Stalled="True"))
    assert "exceeded quota: tight" in message(relay)
    # What was written before the refusal is in force.
    eventually(lambda: relays.when(NetworkPolicyAccurate="PolicyUpToDate"))
    assert len(relays.events("ApplyRejected")) == 1
    relays.delete("tight", "quota")
    eventually(lambda: relays.when(Ready="True"), seconds=RETRY_SECONDS)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    ("rule", "spec", "text"),
    [
        ("ResourceQuota", {"hard": {"pods": "0"}}, "exceeded quota: rule"),
        (
            "LimitRange",
            {"limits": [{"type": "Container", "max": {"memory": "64Mi"}}]},
            "maximum memory usage per Container is 64Mi",
        ),
    ],
)
def test_pods_that_cannot_be_created_are_reported(
    relays: Relays, eventually: Eventually, rule: str, spec: Object, text: str
) -> None:
    obj = {"apiVersion": "v1", "kind": rule, "metadata": {"name": "rule"}, "spec": spec}
    relays.write(obj)
    if rule == "ResourceQuota":
        eventually(lambda: relays.read("rule", rule)["status"].get("hard"))
    relays.apply()
    relay = eventually(lambda: relays.when(Ready="PodCreationFailed", Stalled="False"))
    assert text in message(relay)
    assert len(relays.events("PodCreationFailed")) == 1


@pytest.mark.usefixtures("operator")
def test_an_admission_policy_that_denies_a_child_is_named(
    namespace: str, relays: Relays, eventually: Eventually
) -> None:
    deny(relays, namespace, "networking.k8s.io/ingresses", "false", "no way in from outside")
    eventually(lambda: not is_allowed(relays))
    relays.apply(ingress={"domain": "example.com"})
    relay = eventually(lambda: relays.when(Ready="ApplyRejected", Stalled="True"))
    assert "no way in from outside" in message(relay)
    assert len(relays.events("ApplyRejected")) == 1
    assert relays.read(kind="deployment"), "what is allowed is there"
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        relays.delete(namespace, kind)
    eventually(lambda: relays.when(Ready="True"), seconds=RETRY_SECONDS)


@pytest.mark.usefixtures("operator")
def test_a_denial_that_mentions_immutable_fields_deletes_no_child(
    namespace: str, relays: Relays, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    before = relays.read(kind="deployment")
    rule = "object.spec.template.spec.containers.all(one, one.image.contains('@sha256:'))"
    deny(relays, namespace, "apps/deployments", rule, "images are immutable: name a digest")
    eventually(lambda: not takes_image(relays, before, f"{REPOSITORY}:1.0.0"))
    relays.apply(image={"repository": REPOSITORY, "tag": "1.0.0"})
    relay = eventually(lambda: relays.when(Ready="ApplyRejected", Stalled="True"))
    assert "images are immutable" in message(relay)
    assert relays.read(kind="deployment")["metadata"]["uid"] == before["metadata"]["uid"]


def deny(relays: Relays, namespace: str, what: str, rule: str, words: str) -> None:
    """Have a policy refuse what breaks a rule, in one namespace."""
    admission = "admissionregistration.k8s.io/v1"
    group, _, resource = what.partition("/")
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    concerned = {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [resource],
    }
    policy = {
        "apiVersion": admission,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {"resourceRules": [concerned]},
            "validations": [{"expression": rule, "message": words}],
        },
    }
    binding = {
        "apiVersion": admission,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": namespace},
        "spec": {
            "policyName": namespace,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": here},
        },
    }
    for obj in (policy, binding):
        relays.write(obj)


def takes_image(relays: Relays, deployment: Object, image: str) -> bool:
    """Whether the API server would take a Deployment like this one with another image."""
    spec = copy.deepcopy(deployment["spec"])
    spec["template"]["spec"]["containers"][0]["image"] = image
    kept = {name: deployment[name] for name in ("apiVersion", "kind")}
    return relays.would_take({**kept, "metadata": {"name": "question"}, "spec": spec})


def is_allowed(relays: Relays) -> bool:
    """Whether the API server would take an Ingress here; policies take their time."""
    backend = {"service": {"name": "a", "port": {"number": 80}}}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "question"},
        "spec": {"defaultBackend": backend},
    }
    return relays.would_take(ingress)


@pytest.mark.usefixtures("operator")
def test_a_host_that_does_not_resolve_is_reported(relays: Relays, eventually: Eventually) -> None:
    relays.apply(gpu={"mode": "ExternalName", "host": "nowhere.invalid"})
    relay = eventually(
        lambda: relays.when(Ready="True", NetworkPolicyAccurate="GPUHostUnresolved"), seconds=40
    )
    assert "nowhere.invalid does not resolve" in message(relay, "NetworkPolicyAccurate")


def test_a_namespace_on_its_way_out_is_left_in_peace(
    operator: OperatorProcess,
    control_plane: ControlPlane,
    namespace: str,
    relays: Relays,
    eventually: Eventually,
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    held = {"metadata": {"finalizers": ["example.com/hold"]}}
    relays.patch(held)
    before = operator.metric("tokenplace_operator_reconcile_errors_total", reason="Forbidden")
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    # Its relay stays, held by a foreign finalizer; its children go, and none comes back.
    eventually(lambda: not relays.all("deploy,service,networkpolicy"), seconds=60)
    assert "deletionTimestamp" in relays.read()["metadata"]
    relays.patch({"metadata": {"finalizers": None}})
    eventually(lambda: not relays.all("tpr"))
    after = operator.metric("tokenplace_operator_reconcile_errors_total", reason="Forbidden")
    assert after == before
    control_plane.kubectl("wait", "--for=delete", f"namespace/{namespace}", "--timeout=60s")
    control_plane.kubectl("create", "namespace", namespace)
