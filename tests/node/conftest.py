"""One cluster with a node for all tests of this folder."""

import subprocess
from collections.abc import Iterator
from typing import Protocol

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane import KUBECTL


class Kubectl(Protocol):
    def __call__(self, *arguments: str, given: object = None) -> str: ...


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A control plane, a registry, CoreDNS and a node that is Ready."""
    with Cluster.start() as started:
        yield started


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """Run kubectl as administrator; a failure is a failed test with its message."""

    def run(*arguments: str, given: object = None) -> str:
        done = subprocess.run(
            [KUBECTL, f"--kubeconfig={cluster.kubeconfig}", *arguments],
            input=None if given is None else yaml.safe_dump(given),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    return run
