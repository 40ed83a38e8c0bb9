"""The shipped manifests on the real API server, and all pods under its strictest rules."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_cluster.fixtures import Kubectl
from tokenplace_cluster.subjects import shipped

ROOT = Path(__file__).parents[2]
MANIFESTS = ("--namespace=", f"--filename={shipped.MANIFESTS}")
GOLDEN = sorted((ROOT / "tests" / "unit" / "golden").glob("*.children.yaml"))

Object = dict[str, Any]


def one(kind: str) -> Object:
    return next(obj for obj in shipped.manifests() if obj["kind"] == kind)


@pytest.fixture
def restricted(kubectl: Kubectl) -> Kubectl:
    """kubectl in a namespace that takes only pods of the strictest kind."""
    here = ("create", "configmap", "here", "--dry-run=server")
    namespace = kubectl(*here, "--output=jsonpath={.metadata.namespace}").stdout
    level = "pod-security.kubernetes.io/enforce=restricted"
    labelled = kubectl("label", "namespace", namespace, level, "--overwrite")
    assert labelled.returncode == 0, labelled.stderr
    deadline = time.monotonic() + 20
    while "violates PodSecurity" not in refusal(kubectl, as_root()):
        assert time.monotonic() < deadline, "the server never enforced the level"
    return kubectl


def as_root() -> Object:
    container = {"name": "a", "image": "a", "securityContext": {"runAsUser": 0}}
    return {"metadata": {}, "spec": {"serviceAccountName": "any", "containers": [container]}}


def refusal(kubectl: Kubectl, template: Object) -> str:
    """What the server says against a pod of `template`; empty when it takes it."""
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": template["spec"]["serviceAccountName"]},
    }
    made = kubectl("apply", "--server-side", "--filename=-", given=json.dumps(account))
    assert made.returncode == 0, made.stderr
    metadata = {**template["metadata"], "name": "pod"}
    pod = {**template, "apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    done = kubectl("create", "--dry-run=server", "--filename=-", given=json.dumps(pod))
    return done.stderr if done.returncode else ""


@pytest.fixture
def installed(kubectl: Kubectl, crd: str) -> Kubectl:
    """kubectl after the manifests were applied and the authorizer has seen them."""
    assert crd, "a kind that is not served cannot be asked for"
    applied = kubectl("apply", "--server-side", "--validate=strict", *MANIFESTS)
    assert applied.returncode == 0, applied.stderr
    account = "--as=system:serviceaccount:tokenplace-system:tokenplace-operator"
    deadline = time.monotonic() + 20
    while kubectl("auth", "can-i", "list", "pods", account).returncode != 0:
        assert time.monotonic() < deadline, "the binding never took effect"
    return kubectl


def test_the_manifests_are_taken_and_change_nothing_the_second_time(installed: Kubectl) -> None:
    difference = installed("diff", "--server-side", *MANIFESTS)
    assert (difference.stdout, difference.stderr, difference.returncode) == ("", "", 0)


def test_the_roles_have_no_wildcard_and_no_secret() -> None:
    for kind in ("ClusterRole", "Role"):
        for rule in one(kind)["rules"]:
            granted = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"*", "secrets"} & set(granted)


def test_only_the_status_of_relays_is_writable() -> None:
    rules = one("ClusterRole")["rules"]
    relays = [rule for rule in rules if rule["apiGroups"] == ["token.place"]]
    verbs = {rule["resources"][0]: rule["verbs"] for rule in relays}
    assert verbs == {
        "tokenplacerelays": ["list", "watch"],
        "tokenplacerelays/status": ["patch"],
    }


def test_the_operators_pod_is_restricted(restricted: Kubectl) -> None:
    assert refusal(restricted, one("Deployment")["spec"]["template"]) == ""


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_the_relays_pods_are_restricted(restricted: Kubectl, golden: Path) -> None:
    children = list(yaml.safe_load_all(golden.read_text()))
    template = next(c for c in children if c["kind"] == "Deployment")["spec"]["template"]
    # PriorityClasses are checked when a pod is made; the one of the golden file does not exist.
    template["spec"].pop("priorityClassName", None)
    assert refusal(restricted, template) == ""


@pytest.mark.parametrize(
    ("verb", "resource", "answer"),
    [
        ("watch", "tokenplacerelays.token.place", "yes"),
        ("patch", "tokenplacerelays.token.place --subresource=status", "yes"),
        ("patch", "tokenplacerelays.token.place", "no"),
        ("delete", "tokenplacerelays.token.place", "no"),
        ("create", "deployments.apps", "yes"),
        ("delete", "endpointslices.discovery.k8s.io", "yes"),
        ("list", "pods", "yes"),
        ("create", "pods", "no"),
        ("get", "secrets", "no"),
        ("update", "leases.coordination.k8s.io --namespace=tokenplace-system", "yes"),
        ("update", "leases.coordination.k8s.io --namespace=kube-system", "no"),
        ("create", "clusterroles.rbac.authorization.k8s.io", "no"),
    ],
)
def test_what_the_operator_may_do(
    installed: Kubectl, verb: str, resource: str, answer: str
) -> None:
    account = "--as=system:serviceaccount:tokenplace-system:tokenplace-operator"
    said = installed("auth", "can-i", verb, *resource.split(), account)
    assert said.stdout.strip() == answer
