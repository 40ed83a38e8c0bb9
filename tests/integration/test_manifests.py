"""The shipped manifests on the real API server, and all pods under its strictest rules."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pykube
import pytest
import yaml

from tokenplace_cluster.control_plane.control_plane import ControlPlane, KubectlError
from tokenplace_cluster.control_plane.objects import Object, Objects
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects import shipped

ROOT = Path(__file__).parents[2]
OPERATOR = f"--as={shipped.USER}"
MANIFESTS = ("--namespace=", f"--filename={shipped.MANIFESTS}")
GOLDEN = sorted((ROOT / "tests" / "unit" / "operator" / "golden").glob("*.children.yaml"))


def one(kind: str) -> Object:
    return next(obj for obj in shipped.manifests() if obj["kind"] == kind)


def pod_template(children: Path) -> Object:
    """The pod of a relay, from its golden children."""
    deployments = [c for c in yaml.safe_load_all(children.read_text()) if c["kind"] == "Deployment"]
    template: Object = deployments[0]["spec"]["template"]
    # PriorityClasses are checked when a pod is made; the one of the golden file does not exist.
    template["spec"].pop("priorityClassName", None)
    return template


TEMPLATES = {
    "operator": one("Deployment")["spec"]["template"],
    **{path.name: pod_template(path) for path in GOLDEN},
}
"""The pods of the operator and of the golden relays."""


@pytest.fixture(scope="module")
def restricted(
    control_plane: ControlPlane, api: pykube.HTTPClient, eventually: Eventually
) -> Iterator[Objects]:
    """A namespace that accepts only pods of the level `restricted`."""
    name = "restricted"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = pykube.Namespace(api, {"metadata": {"name": name, "labels": labels}})
    namespace.create()
    accounts = {template["spec"]["serviceAccountName"] for template in TEMPLATES.values()}
    for account in sorted(accounts):
        control_plane.kubectl("create", "serviceaccount", account, f"--namespace={name}")
    objects = Objects(api, name)
    account = min(accounts)
    container = {"name": "a", "image": "a", "securityContext": {"runAsUser": 0}}
    as_root = {"spec": {"serviceAccountName": account, "containers": [container]}}
    eventually(lambda: "violates PodSecurity" in refusal(objects, as_root), seconds=20)
    yield objects
    namespace.delete()


def refusal(objects: Objects, template: Object) -> str:
    """The reason why the server would refuse a pod of a template; empty if it would accept it."""
    metadata = {**template.get("metadata", {}), "name": "pod"}
    return objects.refusal({**template, "apiVersion": "v1", "kind": "Pod", "metadata": metadata})


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane, crd: str, eventually: Eventually) -> None:
    """The manifests are applied, and the authorizer knows them."""
    assert crd, "rights on a kind that is not served cannot be asked for"
    control_plane.kubectl("apply", "--server-side", "--validate=strict", *MANIFESTS)

    def may_list_pods() -> bool:
        with suppress(KubectlError):
            control_plane.kubectl("auth", "can-i", "list", "pods", OPERATOR)
            return True
        return False

    eventually(may_list_pods, seconds=20)


@pytest.mark.usefixtures("installed")
def test_the_manifests_are_taken_and_change_nothing_the_second_time(kubectl: Kubectl) -> None:
    difference = kubectl("diff", "--server-side", *MANIFESTS)
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


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_pods_are_restricted(restricted: Objects, name: str) -> None:
    assert refusal(restricted, TEMPLATES[name]) == ""


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
@pytest.mark.usefixtures("installed")
def test_what_the_operator_may_do(kubectl: Kubectl, verb: str, resource: str, answer: str) -> None:
    asked = kubectl("auth", "can-i", verb, *resource.split(), OPERATOR)
    assert asked.stdout.strip() == answer
