"""The runtime on the real API server: failover, namespaces, rights, a restarted API server.

It runs as a process of its own, around a reconcile that only logs its relay.
"""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_operator.api import kinds

PROGRAM = """
import asyncio, sys
from types import SimpleNamespace
from tokenplace_operator import logs
from tokenplace_operator.settings import Config
from tokenplace_operator.lifecycle import operate

def make(kube, store, metrics, discovery):
    log = logs.get_logger("test")
    async def reconcile(key):
        log.info("reconciled")
        return SimpleNamespace(requeue_after=None)
    return reconcile

logs.configure("INFO")
config = Config(metrics_port=0, lease_seconds=float(sys.argv[1]), lease_namespace=sys.argv[2],
                namespaces=tuple(sys.argv[3:]))
sys.exit(asyncio.run(operate(config, make)))
"""

IMPATIENT = """
from tokenplace_operator.cache import kopf_settings, watch
kopf_settings.ERROR_BACKOFFS = (0.5,) * 4
"""
WATCHES_ANOTHER = (
    IMPATIENT
    + """
from tokenplace_operator.api.kinds import Kind
watch.WATCHED += (Kind("token.place", "v1alpha1", "gones", "Gone"),)
"""
)
COMMAND = (sys.executable, "-W", "error", "-c", PROGRAM)

RELAY = """
apiVersion: token.place/v1alpha1
kind: TokenplaceRelay
metadata: {name: %s}
spec: {image: {digest: "sha256:%s"}, gpu: {mode: None}}
"""


Start = Callable[..., OperatorProcess]


@pytest.fixture
def start(control_plane: ControlPlane, tmp_path: Path, crd: str) -> Iterator[Start]:
    del crd
    processes: list[OperatorProcess] = []

    def run(
        *arguments: str,
        kubeconfig: Path | None = None,
        before: str = "",
        lease_seconds: float = 6,
    ) -> OperatorProcess:
        log = tmp_path / f"operator-{len(processes)}.log"
        login = kubeconfig or control_plane.kubeconfig
        command = (*COMMAND[:-1], before + PROGRAM, str(lease_seconds))
        process = OperatorProcess(log, login, *arguments, command=command)
        processes.append(process)
        return process

    yield run
    for process in processes:
        if process.popen.poll() is None:
            process.end(signal.SIGKILL)
        print(process.log.read_text())


def make_relay(control_plane: ControlPlane, namespace: str, name: str) -> None:
    text = RELAY % (name, "a" * 64)
    control_plane.kubectl("apply", f"--namespace={namespace}", "--filename=-", given=text)


def test_a_standby_takes_over_after_sigkill_and_at_once_after_sigterm(
    start: Start, namespace: str, eventually: Eventually
) -> None:
    first = start(namespace, namespace)
    eventually(first.leads, seconds=60)
    second = start(namespace, namespace)
    eventually(second.started, seconds=60)
    assert not second.lines("leading")
    first.end(signal.SIGKILL)
    killed = time.monotonic()
    eventually(second.leads, seconds=15)
    assert 3 < time.monotonic() - killed < 9, "6 s of lease, from its last renewal, and a retry"
    third = start(namespace, namespace)
    eventually(third.started, seconds=60)
    ended = time.monotonic()
    assert second.end(signal.SIGTERM) == 0
    eventually(third.leads, seconds=10)
    assert time.monotonic() - ended < 3
    assert third.end(signal.SIGTERM) == 0


def test_one_namespace_is_watched_and_no_other(
    start: Start, control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    make_relay(control_plane, namespace, "before")
    operator = start(namespace, namespace)
    eventually(lambda: operator.lines("reconciled"), seconds=60)
    make_relay(control_plane, "default", "elsewhere")
    make_relay(control_plane, namespace, "after")
    relays = eventually(
        lambda: (
            {line["relay"] for line in operator.lines("reconciled")}
            if len(operator.lines("reconciled")) > 1
            else None
        )
    )
    control_plane.kubectl("delete", "tpr", "elsewhere", "--namespace=default")
    assert relays == {f"{namespace}/before", f"{namespace}/after"}


def test_a_missing_list_right_ends_the_operator_loudly(
    start: Start, control_plane: ControlPlane, namespace: str
) -> None:
    rights = ["create", "role", "leases", "--verb=get,create,update", "--resource=leases"]
    control_plane.kubectl(*rights, f"--namespace={namespace}")
    bind = ["create", "rolebinding", "leases", "--role=leases", "--user=poor"]
    control_plane.kubectl(*bind, f"--namespace={namespace}")
    operator = start(namespace, namespace, kubeconfig=control_plane.user_kubeconfig("poor"))
    assert operator.popen.wait(60) == 1
    failure = operator.lines("watching failed")[0]
    assert 'cannot list resource "tokenplacerelays"' in failure["error"]


def test_a_missing_watch_right_ends_the_operator_in_order(
    start: Start, control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    """All watches fail together, while each of them is connecting."""
    here = f"--namespace={namespace}"
    watched = (kinds.RELAY, *kinds.CHILD_KINDS)
    resources = ",".join(f"{kind.plural}.{kind.group}".rstrip(".") for kind in watched)
    rights = {
        "leases": ("--verb=get,create,update", "--resource=leases"),
        "lists": ("--verb=list", f"--resource={resources}"),
    }
    for name, flags in rights.items():
        control_plane.kubectl("create", "role", name, *flags, here)
        bind = ("create", "rolebinding", name, f"--role={name}", "--user=listing", here)
        control_plane.kubectl(*bind)
    login = control_plane.user_kubeconfig("listing")
    operator = start(namespace, namespace, kubeconfig=login, before=IMPATIENT)
    eventually(operator.leads, seconds=60)
    assert operator.popen.wait(30) == 1
    assert "cannot watch resource" in operator.lines("watching failed")[0]["error"]
    lease = control_plane.kubectl("get", "lease", "tokenplace-operator", here, "-ojson")
    assert json.loads(lease)["spec"]["holderIdentity"] == ""


def test_a_kind_that_is_not_listed_ends_the_operator_loudly(
    start: Start, namespace: str, eventually: Eventually
) -> None:
    operator = start(namespace, namespace, before=WATCHES_ANOTHER)
    eventually(operator.leads, seconds=60)
    assert operator.popen.wait(60) == 1
    assert "does not list gones" in operator.lines("watching failed")[0]["error"]


def test_a_restarted_api_server_is_survived(
    start: Start, control_plane: ControlPlane, namespace: str, eventually: Eventually
) -> None:
    make_relay(control_plane, namespace, "before")
    # Longer than a server takes to start on a busy machine.
    operator = start(namespace, namespace, lease_seconds=60)
    eventually(lambda: operator.lines("reconciled"), seconds=60)
    control_plane.stop_apiserver(kill=True)
    control_plane.start_apiserver()
    make_relay(control_plane, namespace, "after")
    eventually(
        lambda: f"{namespace}/after" in {line["relay"] for line in operator.lines("reconciled")},
        seconds=60,
    )
    assert operator.popen.poll() is None
    assert operator.end(signal.SIGTERM) == 0
