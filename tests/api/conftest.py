"""kubectl for tests of refusals: it answers with the whole outcome instead of raising."""

import subprocess
from collections.abc import Callable

import pytest

from tokenplace_cluster.control_plane import KUBECTL, ControlPlane


@pytest.fixture
def run_kubectl(
    control_plane: ControlPlane, crd: object, namespace: str
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """kubectl as the administrator in a namespace of the test, with the kind installed."""
    del crd
    command = [KUBECTL, f"--kubeconfig={control_plane.kubeconfig}", f"--namespace={namespace}"]

    def run(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
