"""One cluster with a node for all tests of this folder, or the cluster of a kube context."""

import os
import subprocess
from collections.abc import Iterator
from typing import Protocol

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.control_plane.crds import install_crd
from tokenplace_cluster.programs import images
from tokenplace_cluster.subjects import shipped


class Kubectl(Protocol):
    def __call__(self, *arguments: str, given: object = None) -> str: ...


CONTEXT = os.environ.get("TOKENPLACE_TEST_CONTEXT", "")
"""Run on the cluster of this kube context, with the images RELAY_IMAGE and OPERATOR_IMAGE.

Both are references by digest that its nodes can pull. Tests that need our own node are deselected.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if CONTEXT:
        own = {"cluster", "second_image"}
        ours = [item for item in items if own & set(_fixtures(item))]
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)


def _fixtures(item: pytest.Item) -> list[str]:
    return list(getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A control plane, a registry, CoreDNS and a node that is Ready."""
    with Cluster.start() as started:
        yield started


@pytest.fixture(scope="session")
def login(request: pytest.FixtureRequest) -> str:
    """The flag by which kubectl reaches the cluster as administrator."""
    if CONTEXT:
        return f"--context={CONTEXT}"
    return f"--kubeconfig={request.getfixturevalue('cluster').kubeconfig}"


@pytest.fixture(scope="session")
def kubectl(login: str) -> Kubectl:
    """Run kubectl as administrator; a failure is a failed test with its message."""

    def run(*arguments: str, given: object = None) -> str:
        done = subprocess.run(
            [KUBECTL, login, *arguments],
            input=None if given is None else yaml.safe_dump(given),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    return run


@pytest.fixture(scope="session")
def relay_image(request: pytest.FixtureRequest) -> str:
    """The image of the relay, by digest."""
    if CONTEXT:
        return os.environ["RELAY_IMAGE"]
    address = request.getfixturevalue("cluster").registry.address
    return images.push(images.build("relay", revision="first"), address)


@pytest.fixture(scope="session")
def second_image(cluster: Cluster) -> str:
    """An image of the relay that differs in a label, so in its digest."""
    return images.push(images.build("relay", revision="second"), cluster.registry.address)


@pytest.fixture(scope="session")
def operator(kubectl: Kubectl, request: pytest.FixtureRequest) -> str:
    """The operator as a pod, with the rights of deploy/operator only; returns its image."""
    if CONTEXT:
        image = os.environ["OPERATOR_IMAGE"]
    else:
        address = request.getfixturevalue("cluster").registry.address
        image = images.push(images.build("operator"), address)
    install_crd(kubectl)
    for obj in shipped.manifests(operator_image=image):
        kubectl("apply", "--filename=-", given=obj)
    rollout = ("rollout", "status", f"deployment/{shipped.NAME}", "--timeout=90s")
    kubectl(f"--namespace={shipped.NAMESPACE}", *rollout)
    return image
