"""APIs of other projects come and go while the operator runs: real CRDs on the real API server."""

from collections.abc import Callable, Iterator

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.control_plane.optional_apis import (
    CERTIFICATES,
    MONITORING,
    ROUTES,
    install,
    remove,
)
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import IMPATIENT, OperatorProcess
from tokenplace_cluster.subjects.relays import Relays

StartOperator = Callable[..., OperatorProcess]

MONITORED = {
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "tokenSecretRef": {"name": "metrics"},
}
GATEWAY = {"parentRefs": [{"name": "public"}], "hosts": ["relay.example.com"]}
CERTIFICATE = {
    "apiVersion": "cert-manager.io/v1",
    "kind": "Certificate",
    "metadata": {"name": "relay-tls"},
    "spec": {
        "secretName": "relay-tls",
        "dnsNames": ["relay.example.com"],
        "issuerRef": {"name": "letsencrypt-dns01", "kind": "ClusterIssuer"},
    },
}
ISSUING = {
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "DoesNotExist", "message": "Issuing"}
    ]
}
ABSENT = {
    "Ready": "True",
    "MonitoringReady": "MonitoringCRDsNotFound",
    "RouteReady": "GatewayCRDsNotFound",
    "CertificateReady": "CertificateNotFound",
}
NOTICED_SECONDS = 120
"""More than enough: the operator of these tests looks every second."""


@pytest.fixture(autouse=True)
def none_at_first(control_plane: ControlPlane) -> Iterator[None]:
    names = (*MONITORING, *ROUTES, *CERTIFICATES)
    remove(control_plane, *names)
    yield
    remove(control_plane, *names)


@pytest.fixture
def operator(
    none_at_first: None, start_operator: StartOperator, kubelet: FakeKubelet
) -> OperatorProcess:
    """With exactly the shipped rights: what it asks for and may not have fails the test."""
    del none_at_first, kubelet
    return start_operator("--discovery-seconds=1", before=IMPATIENT)


@pytest.mark.timeout(600)
def test_apis_may_be_absent_appear_vanish_and_appear_again(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    relays: Relays,
    namespace: str,
    eventually: Eventually,
) -> None:
    # The default issuer is one of cert-manager.
    relays.apply(monitoring=MONITORED, gateway=GATEWAY, ingress={"domain": "example.com"})
    eventually(
        lambda: relays.when(**ABSENT),
        seconds=60,
    )
    for _ in range(2):
        install(control_plane, *MONITORING, *ROUTES, *CERTIFICATES)
        relays.write(CERTIFICATE)
        relays.patch({"status": ISSUING}, "relay-tls", "certificate", "--subresource=status")
        eventually(
            lambda: relays.when(
                Ready="True",
                MonitoringReady="MonitoringConfigured",
                RouteReady="RoutePending",
                CertificateReady="CertificatePending",
            ),
            seconds=NOTICED_SECONDS,
        )
        for kind in ("servicemonitor", "prometheusrule", "httproute"):
            assert relays.read(kind=kind)["metadata"]["ownerReferences"][0]["name"] == "relay"
        remove(control_plane, *MONITORING, *ROUTES, *CERTIFICATES)
        eventually(
            lambda: relays.when(**ABSENT),
            seconds=NOTICED_SECONDS,
        )
    assert operator.popen.poll() is None, "the same process all the time"
    assert operator.metric("tokenplace_operator_reconcile_errors_total", reason="Bug") == 0
    # What hit a vanished kind in between is a handful of retries, no storm.
    requests = audit.writes(control_plane.audit_log, namespace=namespace)
    optional = [one for one in requests if one.resource in {"servicemonitors", "httproutes"}]
    assert len(optional) < 20


@pytest.mark.timeout(300)
def test_drift_of_optional_children_is_corrected(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    relays: Relays,
    eventually: Eventually,
) -> None:
    del operator
    install(control_plane, *MONITORING, *ROUTES)
    relays.apply(monitoring=MONITORED, gateway=GATEWAY)
    eventually(
        lambda: relays.when(MonitoringReady="True", RouteReady="RoutePending"),
        seconds=NOTICED_SECONDS,
    )
    relays.delete(kind="servicemonitor")
    relays.patch({"spec": {"hostnames": ["elsewhere.example.com"]}}, kind="httproute")
    answer = {
        "parentRef": {"name": "public"},
        "controllerName": "example.com/gateway",
        "conditions": [
            {
                "type": "Accepted",
                "status": "False",
                "reason": "NotAllowedByListeners",
                "message": "no listener takes it",
                "lastTransitionTime": "2026-11-24T00:00:00Z",
            }
        ],
    }
    relays.patch({"status": {"parents": [answer]}}, "relay", "httproute", "--subresource=status")

    def put_right() -> bool:
        assert relays.all("servicemonitors")
        assert relays.read(kind="httproute")["spec"]["hostnames"] == ["relay.example.com"]
        told = relays.conditions()["RouteReady"]
        assert told["reason"] == "RouteRejected"
        return "no listener takes it" in told["message"]

    eventually(put_right, seconds=NOTICED_SECONDS)
    relays.apply()
    eventually(
        lambda: (
            not [
                kind
                for kind in ("servicemonitors", "prometheusrules", "httproutes")
                if relays.all(kind)
            ]
        ),
        seconds=30,
    )
