"""`make dev`: the operator under `kopf run`, on a control plane of its own with a sample relay.

There is no node: pods are simulated and become Ready without running.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pykube
from rich.console import Console

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.crds import install_crd
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet

SAMPLE: Final = Path(__file__).parents[4] / "deploy" / "examples" / "minimal.yaml"
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
KOPF_RUN: Final = (sys.executable, "-m", "kopf", "run", "--module=tokenplace_operator.dev")

INSTRUCTIONS: Final = """
The operator runs from your working tree. In another terminal:

    export KUBECONFIG={kubeconfig}
    kubectl get tokenplacerelays,deployments,services,networkpolicies
    kubectl tokenplace status relay
    kubectl edit tokenplacerelay relay

Pods are simulated. Ctrl-C stops everything and removes it.
"""


def run(console: Console, *, once: bool) -> int:
    """Run until Ctrl-C, or with once until the sample is Ready; return the exit code."""
    with ControlPlane.start() as plane:
        install_crd(plane.kubectl)
        return run_on(plane, "default", console, once=once)


def run_on(plane: ControlPlane, namespace: str, console: Console, *, once: bool) -> int:
    """As `run`, in one namespace of a control plane that knows the CRD."""
    plane.kubectl("apply", f"--namespace={namespace}", f"--filename={SAMPLE}")
    with _simulated_pods(plane, namespace), _kopf(plane, namespace) as operator:
        console.print(INSTRUCTIONS.format(kubeconfig=plane.kubeconfig))
        if once:
            return 0 if _becomes_ready(plane, namespace, operator) else 1
        try:
            return operator.wait()
        except KeyboardInterrupt:
            return 0


@contextmanager
def _simulated_pods(plane: ControlPlane, namespace: str) -> Iterator[None]:
    client = pykube.HTTPClient(pykube.KubeConfig.from_file(str(plane.kubeconfig)))
    with FakeKubelet.play(client, namespace):
        yield
    client.session.close()


@contextmanager
def _kopf(plane: ControlPlane, namespace: str) -> Iterator[subprocess.Popen[bytes]]:
    command = (*KOPF_RUN, "--standalone", f"--namespace={namespace}")
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    # Ctrl-C is for this program, which ends kopf and then the control plane.
    operator = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        yield operator
    finally:
        operator.terminate()
        try:
            operator.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            operator.kill()
            operator.wait()


def _becomes_ready(plane: ControlPlane, namespace: str, operator: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and operator.poll() is None:
        text = plane.kubectl("get", "tpr", "relay", f"--namespace={namespace}", "--output=json")
        if _is_ready(json.loads(text)):
            return True
        time.sleep(0.2)
    return False


def _is_ready(relay: dict[str, Any]) -> bool:
    conditions = relay.get("status", {}).get("conditions", [])
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )
