"""The operator is killed, cut off and restarted: it writes what is missing and nothing else."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.faults.tcp_proxy import TcpProxy
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import OperatorProcess, Operators
from tokenplace_cluster.subjects.relays import Relays

EVERYTHING = Path(__file__).parents[1] / "unit" / "operator" / "golden" / "everything.relay.yaml"
FULL: dict[str, Any] = {
    "gpu": {"mode": "Headless", "addresses": ["192.0.2.7", "2001:db8::7"]},
    "ingress": {"domain": "example.com"},
}
CHILDREN_OF_FULL = 8
# These operators ask for the Lease that the shared operator keeps while it is paused.
pytestmark = pytest.mark.usefixtures("no_operator")

StartOperator = Callable[..., OperatorProcess]


def test_killed_after_any_write_it_heals(
    relays: Relays,
    control_plane: ControlPlane,
    operator_kubeconfig: Path,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    """Each run is killed right after its first write, until one has nothing to write any more."""
    relays.apply(**FULL)
    namespace = relays.read()["metadata"]["namespace"]
    lease = (f"--lease-namespace={shipped.NAMESPACE}", "--lease-seconds=3")
    runs: list[int] = []
    with Operators.of(tmp_path, operator_kubeconfig) as operators:
        while len(runs) <= 2 * CHILDREN_OF_FULL and 0 not in runs:
            since = audit.now()
            running = operators.start(*lease, namespaces=(namespace,))
            with killed_at_its_first_write(running, control_plane, namespace):
                eventually(partial(has_ended_or_reconciled, running), seconds=60)
            if running.popen.poll() is None:
                running.end()
            shipped.delete_lease(control_plane)
            runs.append(len(changes(control_plane, namespace, since)))
    assert runs[-1] == 0, f"the runs wrote {runs}"
    assert len(runs) > CHILDREN_OF_FULL / 2, f"the kill came late: the runs wrote {runs}"
    assert len(relays.children()) == CHILDREN_OF_FULL
    assert relays.conditions().keys() >= {"Ready", "Reconciling", "Stalled"}


@pytest.mark.usefixtures("kubelet")
def test_idle_and_restart_write_nothing(
    start_operator: StartOperator,
    relays: Relays,
    kubectl: Kubectl,
    control_plane: ControlPlane,
    eventually: Eventually,
) -> None:
    """With a relay that uses every field, so that every shape is one the server gives back."""
    relays.apply(**everything())
    namespace = relays.read()["metadata"]["namespace"]
    running = start_operator()
    eventually(lambda: len(relays.children()) == CHILDREN_OF_FULL)
    eventually(lambda: relays.when(Ready="True"), seconds=60)
    # Nothing answers as this relay, which is found out after it is Ready.
    unknown = "did not report whether it reaches"
    eventually(lambda: unknown in relays.conditions()["UpstreamReachable"]["message"])

    since = audit.now()
    reconciled = running.reconciles()
    # Labels are no business of the operator, but they are events.
    for value in ("a", "b", "c"):
        kubectl("label", "tpr", "relay", f"example.com/poke={value}", "--overwrite")
        reconciled += 1
        eventually(partial(has_reconciled, running, reconciled))
    assert written(control_plane, namespace, since) == []

    assert running.end() == 0
    again = start_operator()
    eventually(lambda: again.reconciles() > 0)
    assert written(control_plane, namespace, since) == []
    assert again.total("tokenplace_operator_apply_total", result="skipped") >= CHILDREN_OF_FULL
    assert again.total("tokenplace_operator_apply_total", result="applied") == 0


@pytest.fixture
def proxied(
    control_plane: ControlPlane, operator_kubeconfig: Path, tmp_path: Path
) -> Iterator[tuple[TcpProxy, Path]]:
    """A proxy before the API server, and a login of the operator that goes through it."""
    server = urlsplit(control_plane.url)
    assert server.hostname is not None
    assert server.port is not None
    with TcpProxy.start(server.hostname, server.port) as proxy:
        login = yaml.safe_load(operator_kubeconfig.read_text())
        login["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{proxy.port}"
        through = tmp_path / "through-proxy.kubeconfig"
        through.write_text(yaml.safe_dump(login))
        yield proxy, through


def test_a_cut_watch_is_taken_up_again(
    start_operator: StartOperator,
    relays: Relays,
    proxied: tuple[TcpProxy, Path],
    eventually: Eventually,
) -> None:
    proxy, login = proxied
    running = start_operator(kubeconfig=login)
    relays.apply()
    eventually(lambda: bool(relays.conditions()))
    for _ in range(3):
        assert proxy.cut() > 0
        for kind in ("service", "networkpolicy"):
            relays.delete("relay", kind)
        eventually(lambda: relays.children().keys() >= {"Service/relay", "NetworkPolicy/relay"})
    assert running.end() == 0


def test_a_restarted_api_server_is_survived_with_its_relays(
    relays: Relays,
    control_plane: ControlPlane,
    operator_kubeconfig: Path,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    with Operators.of(tmp_path, operator_kubeconfig) as operators:
        running = operators.start(f"--lease-namespace={shipped.NAMESPACE}")
        relays.apply()
        eventually(lambda: bool(relays.conditions()), seconds=60)
        control_plane.stop_apiserver(kill=True)
        control_plane.start_apiserver()
        relays.patch({"spec": FULL})
        relays.delete("relay", "deployment")
        eventually(lambda: len(relays.children()) == CHILDREN_OF_FULL, seconds=60)
        assert running.end() == 0


def test_it_runs_under_kopf_run(
    relays: Relays,
    namespace: str,
    operator_kubeconfig: Path,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    kopf = str(Path(sys.executable).with_name("kopf"))
    module = "--module=tokenplace_operator.dev"
    command = (kopf, "run", "--standalone", f"--namespace={namespace}", module)
    running = OperatorProcess(tmp_path / "kopf.log", operator_kubeconfig, command=command)
    try:
        relays.apply(**FULL)
        eventually(lambda: len(relays.children()) == CHILDREN_OF_FULL, seconds=60)
        relays.delete("relay", "service")
        eventually(lambda: "Service/relay" in relays.children())
        assert running.end() == 0
    finally:
        running.popen.kill()


def everything() -> dict[str, Any]:
    """The spec of the golden relay that uses every field, but Ready and without real DNS."""
    spec: dict[str, Any] = yaml.safe_load(EVERYTHING.read_text())["spec"]
    # A class that does not exist is refused when the pod is made.
    del spec["podTemplate"]["priorityClassName"]
    return {**spec, "replicas": 1, "paused": False, **FULL}


@contextmanager
def killed_at_its_first_write(
    running: OperatorProcess, plane: ControlPlane, namespace: str
) -> Iterator[None]:
    """Watch the audit log during the block, and send SIGKILL as soon as it shows a write."""
    over = threading.Event()

    def watch() -> None:
        for call in audit.follow(plane.audit_log, over.is_set):
            if is_change(call) and call.user == shipped.USER and call.namespace == namespace:
                running.popen.kill()
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def has_reconciled(running: OperatorProcess, times: float) -> bool:
    return running.reconciles() >= times


def has_ended_or_reconciled(running: OperatorProcess) -> bool:
    if running.popen.poll() is not None:
        return True
    with contextlib.suppress(OSError, IndexError):
        return bool(running.reconciles())
    return False


def is_change(call: AuditEvent) -> bool:
    """A write that brings the relay further, unlike a repeated Event."""
    return call.is_write and call.code < 300 and call.resource != "events"


def changes(plane: ControlPlane, namespace: str, since: str) -> list[AuditEvent]:
    return [call for call in written(plane, namespace, since) if is_change(call)]


def written(plane: ControlPlane, namespace: str, since: str) -> list[AuditEvent]:
    """What the operator wrote in the namespace, the Lease thus not included."""
    return audit.writes(plane.audit_log, user=shipped.USER, namespace=namespace, since=since)
