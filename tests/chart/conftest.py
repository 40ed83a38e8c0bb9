"""Rendering without a cluster, and releases on a control plane of the chart's own."""

from collections.abc import Iterator

import pytest
import yaml

from tokenplace_cluster.control_plane import optional_apis
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.programs.helm import CHART, Helm, Object, Render, helm_for


@pytest.fixture(scope="session")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return helm_for(tmp_path_factory.mktemp("helm"), "/nowhere")


@pytest.fixture(scope="session")
def render(offline: Helm) -> Render:
    def run(values: Object | None = None) -> list[Object]:
        where = ("tokenplace", str(CHART), "--namespace=relays", "--kube-version=1.31.0")
        done = offline("template", *where, values=values)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    return run


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane with the CRDs of prometheus-operator, but not yet with ours."""
    with ControlPlane.start() as started:
        optional_apis.install(started, *optional_apis.MONITORING)
        yield started


@pytest.fixture(scope="session")
def helm(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm as the administrator of the control plane; all tests share its cache of the API."""
    return helm_for(tmp_path_factory.mktemp("helm"), plane.kubeconfig)
