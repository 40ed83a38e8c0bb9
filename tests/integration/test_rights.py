"""Roles of namespaces only; and rights against the audit log: none is missing, none is idle."""

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.control_plane.objects import Object, Objects
from tokenplace_cluster.control_plane.optional_apis import CERTIFICATES, MONITORING, ROUTES, served
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import Operators
from tokenplace_cluster.subjects.relays import Relays

Right = tuple[str, str]
"""A verb and a resource with its subresource."""

LEFT_BEHIND = "relay-of-another-version"
STRANGER: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "relay"}}
EVERYTHING: Object = {
    "gpu": {"mode": "Headless", "addresses": ["192.0.2.1"]},
    "ingress": {"domain": "example.com"},
    "gateway": {"parentRefs": [{"name": "public"}], "hosts": ["relay.example.com"]},
    "autoscaling": {"maxReplicas": 1, "cpu": 80},
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
        "tokenSecretRef": {"name": "metrics"},
    },
}


def rules(kind: str) -> list[Object]:
    found = [one for one in shipped.rights() if one["kind"] == kind]
    return [rule for one in found for rule in one["rules"]]


def granted() -> set[Right]:
    return {
        (verb, resource)
        for rule in rules("ClusterRole") + rules("Role")
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }


def used(calls: list[AuditEvent]) -> set[Right]:
    found = set()
    for call in calls:
        if not call.resource:
            continue  # Discovery, which every login may do.
        resource = "/".join(filter(None, (call.resource, call.subresource)))
        found.add((call.verb, resource))
        if call.verb == "patch" and call.code == 201:
            found.add(("create", resource))  # An apply that creates needs both.
    return found


@pytest.fixture
def second(control_plane: ControlPlane, namespace: str) -> Iterator[str]:
    name = f"{namespace}-b"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def user(control_plane: ControlPlane, namespace: str, second: str) -> str:
    """A user with the shipped rules in two namespaces, by Roles alone."""
    name = f"operator-{namespace}"
    api = "rbac.authorization.k8s.io"
    for where in (namespace, second):
        granted_here = rules("ClusterRole") + (rules("Role") if where == namespace else [])
        meta = {"name": "operator", "namespace": where}
        role = {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": granted_here}
        binding = {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "operator"},
            "subjects": [{"apiGroup": api, "kind": "User", "name": name}],
        }
        for obj in (role, binding):
            control_plane.kubectl("apply", "--filename=-", given=json.dumps(obj))
    return name


@pytest.mark.timeout(600)
def test_roles_of_two_namespaces_are_enough_and_every_right_is_used(
    *,
    control_plane: ControlPlane,
    operators: Operators,
    kubelet: FakeKubelet,
    relays: Relays,
    user: str,
    eventually: Eventually,
    request: pytest.FixtureRequest,
) -> None:
    del kubelet
    namespace, second = (request.getfixturevalue(name) for name in ("namespace", "second"))
    kubectl, api = (request.getfixturevalue(name) for name in ("kubectl", "api"))
    elsewhere = Relays(partial(in_namespace, kubectl, second), Objects(api, second))
    login = control_plane.user_kubeconfig(user)
    with served(control_plane, *MONITORING, *ROUTES, *CERTIFICATES):
        operator = operators.start(
            "--discovery-seconds=2", kubeconfig=login, namespaces=(namespace, second)
        )
        eventually(operator.leads, seconds=60)
        # An unmanaged object has a name that the relay needs: every name is read.
        relays.create(STRANGER)
        relays.apply(**EVERYTHING)
        eventually(lambda: relays.when(Ready="ResourceNameConflict"), seconds=60)
        relays.delete("relay", "serviceaccount")
        relays.patch({"metadata": {"labels": {"name": "free"}}})
        elsewhere.apply()
        eventually(lambda: relays.when(Ready="True"), seconds=60)
        eventually(lambda: elsewhere.when(Reconciling="True"))
        eventually(lambda: relays.all("httproute") and relays.all("prometheusrule"), seconds=30)
        # A selector cannot change: the Deployment is replaced.
        replace_deployment(relays)
        eventually(lambda: is_replaced(relays), seconds=60)
        eventually(lambda: relays.when(Ready="True"), seconds=60)
        conflict(relays)
        # An object that is not desired but belongs to the relay is pruned, even of an unused kind.
        leave_behind(relays, "v1", "ServiceAccount")
        leave_behind(relays, "policy/v1", "PodDisruptionBudget")
        eventually(lambda: not is_left(relays), seconds=60)
        # Everything that is not always desired is pruned.
        relays.apply(networkPolicy={"enabled": False})
        gone = "ingress,networkpolicy,hpa,httproute,servicemonitor,prometheusrule"
        eventually(lambda: not relays.all(gone), seconds=60)
        eventually(lambda: relays.when(Ready="True"), seconds=60)
        # The same problem twice: its Event is counted up.
        for paused in (True, False, True):
            relays.apply(image={"digest": f"sha256:{int(paused):064}"}, paused=paused)
            eventually(partial(relays.when, Paused=str(paused)), seconds=60)
        assert operator.end() == 0
    calls = [call for call in audit.read(control_plane.audit_log) if call.user == user]
    refused = {(call.verb, call.resource, call.uri) for call in calls if call.code in {401, 403}}
    assert refused == set(), "a right is missing"
    assert used(calls) <= granted()
    assert granted() - used(calls) == set(), "a right is idle"
    assert {call.namespace for call in calls if call.resource} == {namespace, second}
    assert not [call for call in calls if call.resource == "secrets"]


def in_namespace(
    kubectl: Kubectl, namespace: str, *arguments: str, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return kubectl(*arguments, f"--namespace={namespace}", given=given)


def replace_deployment(relays: Relays) -> None:
    """A user creates it again with another selector, our owner reference and labels kept."""
    live = relays.read(kind="deployment")
    meta = live["metadata"]
    kept = {name: meta[name] for name in ("name", "labels", "annotations", "ownerReferences")}
    selector = {"app": "other"}
    live["spec"]["selector"] = {"matchLabels": selector}
    live["spec"]["template"]["metadata"]["labels"] |= selector
    kept["annotations"].pop("deployment.kubernetes.io/revision", None)
    deadline = time.monotonic() + 30
    while True:
        relays.delete(kind="deployment")
        made = {**live, "metadata": kept, "status": {}}
        try:
            relays.create(made)
        except AssertionError:
            assert time.monotonic() < deadline
            continue
        return


def is_replaced(relays: Relays) -> bool:
    found = [one["spec"]["selector"]["matchLabels"] for one in relays.all("deployments")]
    return [labels for labels in found if "app" not in labels] != []


def leave_behind(relays: Relays, api_version: str, kind: str) -> None:
    """An owned and labelled object, as another version of the operator might have made it."""
    owner = relays.read(kind="service")["metadata"]
    kept = {name: owner[name] for name in ("labels", "ownerReferences")}
    relays.create(
        {"apiVersion": api_version, "kind": kind, "metadata": {"name": LEFT_BEHIND, **kept}}
    )


def is_left(relays: Relays) -> bool:
    found = relays.all("serviceaccounts,poddisruptionbudgets")
    return any(one["metadata"]["name"] == LEFT_BEHIND for one in found)


def conflict(relays: Relays) -> None:
    relays.patch({"spec": {"replicas": 0}}, "relay", "deployment", "--field-manager=somebody")


def test_the_rules_name_no_wildcard_and_no_secret() -> None:
    for rule in rules("ClusterRole") + rules("Role"):
        texts = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"*", "secrets", "pods/proxy", "pods/exec"} & set(texts)
    assert yaml.safe_load((Path(shipped.MANIFESTS) / "40-role.yaml").read_text())["rules"]
