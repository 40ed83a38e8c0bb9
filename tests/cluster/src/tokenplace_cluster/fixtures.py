"""Fixtures of tests against a real API server."""

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol, TypeVar

import pykube
import pytest

from tokenplace_cluster.control_plane.control_plane import KUBECTL, ControlPlane
from tokenplace_cluster.control_plane.crds import install_crd
from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.control_plane.objects import Objects
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.operator_process import (
    OperatorProcess,
    Operators,
    SharedOperator,
)
from tokenplace_cluster.subjects.relays import Relays

CLUSTER_TEST_SECONDS: Final = 600
"""The timeout of a test that uses a cluster, the start of the cluster included."""

T = TypeVar("T")


class Kubectl(Protocol):
    """Run kubectl as the administrator in the test's namespace; the caller checks the result."""

    def __call__(
        self, *arguments: str, given: str | None = None
    ) -> subprocess.CompletedProcess[str]: ...


class Eventually(Protocol):
    """Call check until it raises no AssertionError and its result is true; return the result."""

    def __call__(self, check: Callable[[], T], *, seconds: float = 60) -> T: ...


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane without nodes, shared by the whole run."""
    with ControlPlane.start() as started:
        yield started


@pytest.fixture(scope="session")
def crd(control_plane: ControlPlane) -> str:
    """The name of the CRD, which is installed."""
    return install_crd(control_plane.kubectl)


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[pykube.HTTPClient]:
    """pykube as the administrator."""
    client = pykube.HTTPClient(pykube.KubeConfig.from_file(str(control_plane.kubeconfig)))
    yield client
    client.session.close()


@pytest.fixture
def namespace(api: pykube.HTTPClient) -> Iterator[str]:
    """A new namespace for the test."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    namespace = pykube.Namespace(api, {"metadata": {"name": name}})
    namespace.create()
    yield name
    namespace.delete()


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str) -> Kubectl:
    """kubectl as the administrator, in the test's namespace."""

    def run(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                KUBECTL,
                f"--kubeconfig={control_plane.kubeconfig}",
                f"--namespace={namespace}",
                *arguments,
            ],
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def operator_kubeconfig(control_plane: ControlPlane, crd: str) -> Path:
    """A login as the operator's ServiceAccount, with exactly the shipped rights."""
    del crd
    return shipped.install_rights(control_plane)


@pytest.fixture(scope="session")
def shared_operator(
    operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedOperator]:
    """An operator with the shipped rights, for all tests that do not harm it."""
    folder = tmp_path_factory.mktemp("operator")
    with Operators.of(folder, operator_kubeconfig, shipped.NAMESPACE) as operators:
        yield SharedOperator(operators)


@pytest.fixture
def cluster_operator(
    shared_operator: SharedOperator, eventually: Eventually
) -> Iterator[OperatorProcess]:
    """The shared operator, as the leader of the whole cluster."""
    operator = shared_operator.start()
    eventually(operator.leads, seconds=60)
    yield operator
    shared_operator.pause()


@pytest.fixture
def operators(
    control_plane: ControlPlane, shared_operator: SharedOperator, namespace: str, tmp_path: Path
) -> Iterator[Operators]:
    """Starts operators that watch the test's namespace, as the administrator by default."""
    shared_operator.stop()
    with Operators.of(tmp_path, control_plane.kubeconfig, namespace) as started:
        yield started


@pytest.fixture
def objects(api: pykube.HTTPClient, namespace: str) -> Objects:
    """The objects of the test's namespace."""
    return Objects(api, namespace)


@pytest.fixture
def relays(crd: str, kubectl: Kubectl, objects: Objects) -> Relays:
    """The relays of the test's namespace."""
    del crd
    return Relays(kubectl, objects)


@pytest.fixture
def kubelet(api: pykube.HTTPClient, namespace: str) -> Iterator[FakeKubelet]:
    """Simulates the kubelet for the pods of the test's namespace."""
    with FakeKubelet.play(api, namespace) as playing:
        yield playing


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait for the work of another process; when time is up, the last failure fails the test."""

    def wait(check: Callable[[], T], *, seconds: float = 60) -> T:
        deadline = time.monotonic() + seconds
        while True:
            late = time.monotonic() > deadline
            try:
                found = check()
            except AssertionError:
                if late:
                    raise
            else:
                if found:
                    return found
                assert not late, f"not within {seconds:g} s: {check}"
            time.sleep(0.1)

    return wait


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests on a cluster more time than other tests."""
    for item in items:
        on_cluster = {"acceptance", "chart", "e2e", "integration", "rules"} & set(item.path.parts)
        if on_cluster and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(CLUSTER_TEST_SECONDS))
