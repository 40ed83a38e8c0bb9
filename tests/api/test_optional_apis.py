"""APIs of other projects come and go while the operator runs: real CRDs on the real API server."""

from collections.abc import Iterator

import pytest

from tokenplace_cluster import audit
from tokenplace_cluster.control_plane import ControlPlane
from tokenplace_cluster.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.operator_process import OperatorProcess, Operators
from tokenplace_cluster.optional_apis import CERTIFICATES, MONITORING, ROUTES, install, remove
from tokenplace_cluster.relays import Relays

MONITORED = {
    "serviceMonitor": {"enabled": True},
    "prometheusRule": {"enabled": True},
    "tokenSecretRef": {"name": "metrics"},
}
GATEWAY = {"parentRefs": [{"name": "public"}], "hosts": ["relay.example.com"]}
NOTICED_SECONDS = 60
"""The operator of these tests looks every other second."""


@pytest.fixture(autouse=True)
def none_at_first(control_plane: ControlPlane) -> Iterator[None]:
    names = (*MONITORING, *ROUTES, *CERTIFICATES)
    remove(control_plane, *names)
    yield
    remove(control_plane, *names)


@pytest.fixture
def operator(operators: Operators, kubelet: FakeKubelet, eventually: Eventually) -> OperatorProcess:
    del kubelet
    started = operators.start("--look-seconds=2")
    eventually(started.leads, seconds=60)
    return started


@pytest.mark.timeout(600)
def test_apis_may_be_absent_appear_vanish_and_appear_again(
    control_plane: ControlPlane,
    operator: OperatorProcess,
    relays: Relays,
    namespace: str,
    eventually: Eventually,
) -> None:
    relays.apply(monitoring=MONITORED, gateway=GATEWAY)
    eventually(
        lambda: relays.when(
            Ready="True",
            MonitoringReady="MonitoringApiMissing",
            RouteReady="GatewayApiMissing",
        ),
        seconds=60,
    )
    for _ in range(2):
        install(control_plane, *MONITORING, *ROUTES)
        eventually(
            lambda: relays.when(
                Ready="True", MonitoringReady="MonitoringCurrent", RouteReady="RoutePending"
            ),
            seconds=NOTICED_SECONDS,
        )
        for kind in ("servicemonitor", "prometheusrule", "httproute"):
            assert relays.read(kind=kind)["metadata"]["ownerReferences"][0]["name"] == "relay"
        remove(control_plane, *MONITORING, *ROUTES)
        eventually(
            lambda: relays.when(
                Ready="True",
                MonitoringReady="MonitoringApiMissing",
                RouteReady="GatewayApiMissing",
            ),
            seconds=NOTICED_SECONDS,
        )
    assert operator.popen.poll() is None, "the same process all the time"
    assert operator.metric("tokenplace_operator_reconcile_errors_total", reason="Bug") == 0
    # What hit a vanished kind in between is a handful of retries, no storm.
    requests = audit.writes(control_plane.audit_log, namespace=namespace)
    optional = [one for one in requests if one.resource in {"servicemonitors", "httproutes"}]
    assert len(optional) < 20


@pytest.mark.timeout(300)
def test_what_others_do_to_optional_children_is_put_right(
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
        assert told["reason"] == "RouteRefused"
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
