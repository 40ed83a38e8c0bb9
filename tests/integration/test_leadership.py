"""Two replicas: the standby takes over in time, and there are never two writers."""

import signal
import time
from pathlib import Path

import pytest

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import OperatorProcess, Operators
from tokenplace_cluster.subjects.relays import Relays

KILLED_SECONDS = 20.0
ENDED_SECONDS = 3.0


@pytest.mark.timeout(300)
def test_the_standby_takes_over_in_time_and_is_the_only_writer(
    *,
    control_plane: ControlPlane,
    operators: Operators,
    kubelet: FakeKubelet,
    relays: Relays,
    eventually: Eventually,
    request: pytest.FixtureRequest,
) -> None:
    del kubelet
    namespace = request.getfixturevalue("namespace")
    logins = [admin(control_plane, f"{namespace}-{number}") for number in range(3)]

    def start(number: int) -> OperatorProcess:
        return operators.start(kubeconfig=logins[number])

    first = start(0)
    eventually(first.leads, seconds=60)
    second = start(1)
    eventually(second.started, seconds=60)
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    killed = time.monotonic()
    first.end(signal.SIGKILL)
    eventually(second.leads, seconds=60)
    assert time.monotonic() - killed < KILLED_SECONDS
    third = start(2)
    eventually(third.started, seconds=60)
    relays.delete(kind="deployment")
    eventually(lambda: bool(relays.all("deployment")))
    ended = time.monotonic()
    second.popen.send_signal(signal.SIGTERM)
    eventually(third.leads, seconds=60)
    assert time.monotonic() - ended < ENDED_SECONDS
    assert second.popen.wait(30) == 0
    relays.apply(service={"port": 8080})
    eventually(lambda: relays.read(kind="service")["spec"]["ports"][0]["port"] == 8080)
    writers = in_turn(control_plane, namespace)
    assert writers == [f"{namespace}-{number}" for number in range(3)]


@pytest.mark.timeout(300)
def test_a_leader_that_was_held_up_stops_before_it_writes_again(
    *,
    control_plane: ControlPlane,
    operators: Operators,
    kubelet: FakeKubelet,
    relays: Relays,
    eventually: Eventually,
    request: pytest.FixtureRequest,
) -> None:
    """When it goes on, the events that came meanwhile ask it to write at once."""
    del kubelet
    namespace = request.getfixturevalue("namespace")
    logins = [admin(control_plane, f"{namespace}-{number}") for number in range(2)]
    first = operators.start("--lease-seconds=3", kubeconfig=logins[0])
    eventually(first.leads, seconds=60)
    second = operators.start("--lease-seconds=3", kubeconfig=logins[1])
    relays.apply()
    eventually(lambda: relays.when(Ready="True"))
    first.pause()
    eventually(second.leads, seconds=60)
    relays.apply(service={"port": 8080})
    eventually(lambda: relays.read(kind="service")["spec"]["ports"][0]["port"] == 8080)
    relays.delete("relay", "networkpolicy")
    eventually(lambda: "NetworkPolicy/relay" in relays.children())
    first.resume()
    assert first.popen.wait(30) == 1
    assert first.lines("leadership lost")
    assert in_turn(control_plane, namespace) == [f"{namespace}-{number}" for number in range(2)]


def admin(control_plane: ControlPlane, name: str) -> Path:
    """An administrator with a name of its own, so that the audit log names the writer."""
    return control_plane.user_kubeconfig(name, ["system:masters"])


def in_turn(control_plane: ControlPlane, namespace: str) -> list[str]:
    """The writers of children and status, in order; a writer comes twice only with an overlap."""
    calls = audit.writes(control_plane.audit_log, namespace=namespace)
    writers: list[str] = []
    for call in sorted(calls, key=received):
        ours = call.user.startswith(namespace) and call.resource not in {"leases", "events"}
        if ours and (not writers or writers[-1] != call.user):
            writers.append(call.user)
    return writers


def received(call: AuditEvent) -> str:
    return call.timestamp
