"""The operator under its own ServiceAccount, for the tests that watch it work."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.control_plane.audit import AuditEvent
from tokenplace_cluster.control_plane.control_plane import KUBECTL, ControlPlane
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import (
    OperatorProcess,
    Operators,
    SharedOperator,
)
from tokenplace_cluster.subjects.relays import Relays

BIN = Path(sys.executable).parent

Done = subprocess.CompletedProcess[str]
StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
def shipped_rights(control_plane: ControlPlane) -> Iterator[None]:
    """Fail the test if an operator asked for something that its ServiceAccount may not do."""
    since = audit.now()
    yield
    calls = audit.read(control_plane.audit_log, user=shipped.USER, since=since)
    # A server that has just started refuses until it knows the roles, so a right is missing only
    # if it was never granted. A 404 was authorized.
    allowed = {_right(call) for call in calls if call.code < 400 or call.code == 404}
    refused = {_right(call) for call in calls if call.forbidden}
    assert refused - allowed == set()


@pytest.fixture
def start_operator(
    *,
    control_plane: ControlPlane,
    operator_kubeconfig: Path,
    shared_operator: SharedOperator,
    shipped_rights: None,
    tmp_path: Path,
    eventually: Eventually,
) -> Iterator[StartOperator]:
    """Start operators of the test's own that lead the whole cluster, with the shipped rights."""
    del shipped_rights
    shared_operator.stop()
    with Operators.of(tmp_path, operator_kubeconfig) as operators:

        def start(
            *arguments: str, kubeconfig: Path | None = None, before: str = ""
        ) -> OperatorProcess:
            # Some tests kill the holder of the Lease.
            flags = (f"--lease-namespace={shipped.NAMESPACE}", "--lease-seconds=3")
            started = operators.start(*flags, *arguments, kubeconfig=kubeconfig, before=before)
            eventually(started.leads, seconds=60)
            return started

        yield start
        operators.kill()
        shipped.delete_lease(control_plane)


def _right(call: AuditEvent) -> tuple[str, str, str]:
    return call.verb, call.resource, call.subresource


@pytest.fixture
def operator(cluster_operator: OperatorProcess, kubelet: FakeKubelet) -> OperatorProcess:
    """The shared operator, with a simulated kubelet in the test's namespace."""
    del kubelet
    return cluster_operator


@pytest.fixture
def no_operator(shared_operator: SharedOperator) -> None:
    """Stop the shared operator, which would act on the relays of the test."""
    shared_operator.stop()


class Plugin(Protocol):
    def __call__(self, *arguments: str, given: str | None = None, **env: str) -> Done: ...


@pytest.fixture
def plugin(control_plane: ControlPlane, namespace: str, crd: str, tmp_path: Path) -> Plugin:
    """Run `kubectl tokenplace` as administrator; the test's namespace is the context's."""
    del crd
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))

    def run(*arguments: str, given: str | None = None, **env: str) -> Done:
        settings = {"PATH": f"{BIN}:{os.environ['PATH']}", "KUBECONFIG": str(path), **env}
        return subprocess.run(
            [KUBECTL, "tokenplace", *arguments],
            env={**os.environ, **settings},
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def taken(relays: Relays) -> dict[str, Any]:
    """A Service of a release of upstream's chart, with the name that the relay needs."""
    labels = {
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/instance": "relay",
        "app.kubernetes.io/name": "tokenplace",
        "helm.sh/chart": "tokenplace-0.1.4",
    }
    relays.write(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "relay", "labels": labels},
            "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"app": "theirs"}},
        }
    )
    return relays.read("relay", "service")
