"""The life of a relay on the real API server: made, changed, put back, pruned, paused, gone."""

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_cluster.subjects.relays import DIGEST, Relays

ALWAYS = {"ServiceAccount/relay", "Deployment/relay", "Service/relay", "NetworkPolicy/relay"}
HEADLESS = {"mode": "Headless", "addresses": ["192.0.2.7", "2001:db8::7"]}
OF_HEADLESS = {
    "Service/gpu-server",
    "EndpointSlice/gpu-server-ipv4",
    "EndpointSlice/gpu-server-ipv6",
}
FULL: dict[str, Any] = {"ingress": {"domain": "example.com"}, "gpu": HEADLESS}
OF_FULL = ALWAYS | OF_HEADLESS | {"Ingress/relay"}

Object = dict[str, Any]
StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
def operator(cluster_operator: OperatorProcess, shipped_rights: None) -> OperatorProcess:
    """The shared operator, without a kubelet; what it may not do fails the test."""
    del shipped_rights
    return cluster_operator


@pytest.mark.usefixtures("operator", "kubelet")
def test_a_relay_gets_its_children_and_becomes_ready(
    relays: Relays, eventually: Eventually
) -> None:
    relays.apply(**FULL)
    eventually(lambda: relays.children().keys() == OF_FULL)
    assert container(relays)["image"] == f"ghcr.io/futuroptimist/tokenplace-relay@{DIGEST}"
    settled = {"Ready": "True", "Available": "True", "Reconciling": "False", "Stalled": "False"}
    status = eventually(lambda: relays.when(**settled), seconds=60)["status"]
    assert status["url"] == "https://relay.example.com"
    assert status["image"]["running"] == DIGEST
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)


@pytest.mark.usefixtures("operator")
def test_nothing_is_written_on_the_users_object(
    relays: Relays, kubectl: Kubectl, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.conditions()["Ready"] if relays.conditions() else None)
    metadata = relays.read()["metadata"]
    assert "finalizers" not in metadata
    assert metadata["annotations"].keys() == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert metadata["generation"] == 1
    shown = kubectl("get", "tpr", "relay", "--output=json", "--show-managed-fields").stdout
    assert '"manager": "tokenplace-operator/status"' in shown
    assert '"manager": "tokenplace-operator"' not in shown


@pytest.mark.usefixtures("operator")
def test_a_change_reaches_every_child_that_it_concerns(
    relays: Relays, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.children().keys() == ALWAYS)
    relays.patch({"spec": {"port": 6060, "service": {"port": 8080}}})

    def all_follow() -> bool:
        found = relays.children()
        ports = (
            found["Deployment/relay"]["spec"]["template"]["spec"]["containers"][0]["ports"][0],
            found["Service/relay"]["spec"]["ports"][0],
            found["NetworkPolicy/relay"]["spec"]["ingress"][0]["ports"][0],
        )
        return [one.get("containerPort") or one["port"] for one in ports] == [6060, 8080, 6060]

    eventually(all_follow)
    environment = {one["name"]: one.get("value") for one in container(relays)["env"]}
    assert environment["RELAY_PORT"] == "6060"


DRIFTS: list[tuple[str, Object]] = [
    ("deployment/relay", {"spec": {"replicas": 3}}),
    (
        "deployment/relay",
        {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}},
    ),
    ("deployment/relay", {"spec": {"template": {"spec": {"hostNetwork": True}}}}),
    ("deployment/relay", {"spec": {"template": {"spec": {"hostPID": True, "hostIPC": True}}}}),
    ("service/relay", {"spec": {"selector": {"app.kubernetes.io/name": "stranger"}}}),
    ("service/relay", {"metadata": {"labels": {"app.kubernetes.io/part-of": "stranger"}}}),
    ("service/relay", {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 81}]}}),
    ("networkpolicy/relay", {"spec": {"ingress": [{}]}}),
    ("ingress/relay", {"spec": {"rules": [{"host": "stranger.example.com"}]}}),
    ("serviceaccount/relay", {"automountServiceAccountToken": True}),
    ("endpointslice/gpu-server-ipv4", {"endpoints": [{"addresses": ["192.0.2.99"]}]}),
]


def test_drift_is_corrected_and_counted(
    operator: OperatorProcess, relays: Relays, eventually: Eventually
) -> None:
    relays.apply(**FULL)
    eventually(lambda: relays.children().keys() == OF_FULL)
    eventually(lambda: bool(relays.conditions()))
    before = relays.wishes()
    for target, change in DRIFTS:
        kind, _, name = target.partition("/")
        counted = operator.total("tokenplace_operator_drift_total")
        relays.patch(change, name, kind)

        def put_back(counted: float = counted, target: str = target) -> bool:
            assert operator.total("tokenplace_operator_drift_total") > counted, target
            assert relays.wishes() == before, target
            return True

        eventually(put_back)


@pytest.mark.usefixtures("operator")
def test_a_deleted_child_is_made_again(relays: Relays, eventually: Eventually) -> None:
    relays.apply(**FULL)
    eventually(lambda: relays.children().keys() == OF_FULL)
    for child in sorted(OF_FULL):
        before = relays.children()[child]["metadata"]["uid"]
        kind, _, name = child.partition("/")
        relays.delete(name, kind)

        def made_again(child: str = child, before: str = before) -> bool:
            found = relays.children()
            return found.keys() == OF_FULL and found[child]["metadata"]["uid"] != before

        eventually(made_again)


def test_children_that_are_no_longer_desired_are_pruned(
    operator: OperatorProcess, relays: Relays, eventually: Eventually
) -> None:
    relays.apply(**FULL)
    eventually(lambda: relays.children().keys() == OF_FULL)
    pruned = operator.total("tokenplace_operator_pruned_total", kind="EndpointSlice")
    relays.apply(networkPolicy={"enabled": False})
    eventually(lambda: relays.children().keys() == ALWAYS - {"NetworkPolicy/relay"})
    assert operator.total("tokenplace_operator_pruned_total", kind="EndpointSlice") == pruned + 2


@pytest.mark.usefixtures("operator")
def test_a_relay_that_is_paused_from_the_first_reports_it_and_has_no_child(
    relays: Relays, eventually: Eventually
) -> None:
    relays.apply(paused=True)
    eventually(lambda: relays.when(Paused="True", Ready="Paused"))
    assert relays.children() == {}


@pytest.mark.usefixtures("operator")
def test_paused_means_no_write_to_children_and_deletion_still_works(
    relays: Relays, control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.children().keys() == ALWAYS)
    relays.patch({"spec": {"paused": True}})
    eventually(lambda: relays.when(Paused="True"))
    since = audit.now()
    relays.patch({"spec": {"port": 6060, "gpu": HEADLESS}})
    relays.delete("relay", "service")
    held = eventually(lambda: relays.when(Paused="True", Stalled="True", Ready="Paused"))
    messages = {one["type"]: one["message"] for one in held["status"]["conditions"]}
    eventually(lambda: "6 pending changes" in relays.conditions()["Paused"]["message"])
    assert "spec.paused to false" in messages["Ready"]
    writes = audit.writes(
        control_plane.audit_log, user=shipped.USER, namespace=namespace, since=since
    )
    touched = {(one.resource, one.subresource) for one in writes}
    assert touched <= {("tokenplacerelays", "status"), ("events", "")}
    relays.patch({"spec": {"paused": False}})
    eventually(lambda: relays.children().keys() == ALWAYS | OF_HEADLESS)
    relays.patch({"spec": {"paused": True}})
    eventually(lambda: relays.when(Paused="True"))
    relays.delete()
    eventually(lambda: relays.leftovers() == set(), seconds=60)


def test_a_relay_can_be_deleted_while_the_operator_is_dead(
    start_operator: StartOperator, relays: Relays, kubectl: Kubectl, eventually: Eventually
) -> None:
    operator = start_operator()
    relays.apply(**FULL)
    eventually(lambda: relays.children().keys() == OF_FULL)
    operator.end(signal.SIGKILL)
    deleted = kubectl("delete", "tpr", "relay", "--timeout=30s")
    assert deleted.returncode == 0, deleted.stderr
    eventually(lambda: relays.leftovers() == set(), seconds=60)


def container(relays: Relays) -> Object:
    found: Object = relays.read(kind="deployment")["spec"]["template"]["spec"]["containers"][0]
    return found
