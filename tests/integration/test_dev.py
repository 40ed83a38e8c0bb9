"""`make dev`: the sample relay becomes Ready under `kopf run`."""

import io

import pytest
from rich.console import Console

from tokenplace_cluster import dev
from tokenplace_cluster.control_plane.control_plane import ControlPlane


@pytest.mark.usefixtures("crd")
def test_the_sample_becomes_ready_and_the_instructions_are_printed(
    control_plane: ControlPlane, namespace: str
) -> None:
    printed = io.StringIO()
    assert dev.run_on(control_plane, namespace, Console(file=printed, width=200), once=True) == 0
    assert f"export KUBECONFIG={control_plane.kubeconfig}" in printed.getvalue()
