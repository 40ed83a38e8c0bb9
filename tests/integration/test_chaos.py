"""Faults of the API server, made by a proxy before the real one: the operator survives them all."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.faults.api_proxy import FaultProxy
from tokenplace_cluster.faults.schedule import FAULTS, Schedule
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import OperatorProcess, Operators
from tokenplace_cluster.subjects.relays import Relays

SILENCE_SECONDS = 3.0
LEASE_SECONDS = 24
"""Of which two thirds may pass between renewals: a fault and a busy machine are no lost Lease."""
RESYNC_SECONDS = 2.0
BUSY_MACHINE_SECONDS = 5.0
MOST_EDITS = 100
RESYNCS = "tokenplace_operator_resync_duration_seconds_count"
# These operators ask for the Lease that the shared operator keeps while it is paused.
pytestmark = pytest.mark.usefixtures("no_operator")


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultProxy]:
    with FaultProxy.start(control_plane.url, control_plane.client_ca) as started:
        yield started


@pytest.fixture
def through(proxy: FaultProxy, operator_kubeconfig: Path, tmp_path: Path) -> Iterator[Operators]:
    """Operators under their own rights, whose every request goes through the proxy."""
    login = proxy.login(operator_kubeconfig, tmp_path / "through-proxy.kubeconfig")
    with Operators.of(tmp_path, login) as operators:
        yield operators


def start(operators: Operators, namespace: str, resync_seconds: float) -> OperatorProcess:
    return operators.start(
        f"--lease-namespace={shipped.NAMESPACE}",
        f"--lease-seconds={LEASE_SECONDS}",
        f"--watch-idle-seconds={SILENCE_SECONDS}",
        f"--resync-seconds={resync_seconds}",
        namespaces=(namespace,),
    )


def test_every_fault_is_survived_without_a_restart_or_a_storm_of_writes(
    *,
    proxy: FaultProxy,
    through: Operators,
    control_plane: ControlPlane,
    kubelet: FakeKubelet,
    relays: Relays,
    namespace: str,
    eventually: Eventually,
) -> None:
    del kubelet
    running = start(through, namespace, RESYNC_SECONDS)
    eventually(running.leads)
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    since = audit.now()
    edit(relays, 8000, eventually)
    clean = len(written(control_plane, namespace, since))

    since = audit.now()
    proxy.schedule = schedule = Schedule(seed=6)
    edits = 0
    while schedule.remaining():
        edits += 1
        assert edits < MOST_EDITS, f"never injected: {schedule.remaining()}"
        edit(relays, 8000 + edits, eventually)
    assert set(schedule.injected) == {
        (where, one) for where, all_ in FAULTS.items() for one in all_
    }

    eventually(partial(is_quiet, running, control_plane, namespace, eventually))
    made = len(written(control_plane, namespace, since))
    assert made <= 2 * clean * edits, f"{made} writes for {edits} edits; one alone takes {clean}"
    relay = relays.when(Ready="True")
    assert relay["spec"]["service"]["port"] == 8000 + edits
    assert running.metric("tokenplace_operator_leader_transitions_total") == 1
    assert running.end() == 0


def test_a_change_that_a_silent_watch_misses_is_seen_when_it_is_renewed(
    *,
    proxy: FaultProxy,
    through: Operators,
    relays: Relays,
    namespace: str,
    eventually: Eventually,
) -> None:
    running = start(through, namespace, resync_seconds=600)
    eventually(running.leads)
    relays.apply()
    eventually(lambda: bool(relays.conditions()))
    proxy.silence()
    relays.delete("relay", "service")
    deleted = time.monotonic()
    eventually(lambda: relays.all("service"))
    assert time.monotonic() - deleted < SILENCE_SECONDS + BUSY_MACHINE_SECONDS
    assert proxy.dropped > 0, "the deletion was told"
    assert running.end() == 0


def edit(relays: Relays, port: int, eventually: Eventually) -> None:
    """Change the spec, undo a child, and wait until the cluster agrees with the spec.

    The content of that child is new each time: otherwise the write backoff would start.
    """
    relays.apply(service={"port": port})
    relays.try_delete("relay", "service")

    def agrees() -> bool:
        assert relays.read(kind="service")["spec"]["ports"][0]["port"] == port
        return bool(relays.when(Ready="True"))

    eventually(agrees)


def is_quiet(
    running: OperatorProcess, plane: ControlPlane, namespace: str, eventually: Eventually
) -> bool:
    """Whether nothing is written while everything is listed and reconciled twice."""
    since = audit.now()
    resyncs = running.metric(RESYNCS) + 2
    eventually(lambda: running.metric(RESYNCS) >= resyncs)
    return not written(plane, namespace, since)


def written(plane: ControlPlane, namespace: str, since: str) -> list[AuditEvent]:
    return audit.writes(plane.audit_log, user=shipped.USER, namespace=namespace, since=since)
