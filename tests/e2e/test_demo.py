"""`make demo` on a cluster of its own and on an existing one; the tests on an existing one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenplace_cluster.cluster import Cluster

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_demo_ends_with_a_passed_probe() -> None:
    shown = run(str(BIN / "tokenplace-cluster"), "demo", "--once")
    assert "Ready=True Available" in shown
    assert "networkpolicy.networking.k8s.io/relay" in shown
    assert shown.rstrip().endswith("passed")


@pytest.fixture
def given(cluster: Cluster, operator: str, relay_image: str) -> dict[str, str]:
    """The environment of a user who has a cluster and images."""
    return {
        "KUBECONFIG": str(cluster.kubeconfig),
        "RELAY_IMAGE": relay_image,
        "OPERATOR_IMAGE": operator,
    }


def test_demo_runs_on_an_existing_cluster(given: dict[str, str]) -> None:
    shown = run(str(BIN / "tokenplace-cluster"), "demo", "--once", "--context=tokenplace", **given)
    assert "Using the cluster of context tokenplace; the operator runs as a pod" in shown
    assert shown.rstrip().endswith("passed")


def test_the_tests_run_on_an_existing_cluster(given: dict[str, str]) -> None:
    tests = ("tests/e2e/test_relay_pods.py", "-q", "-k", "hardened or through_the_service")
    environment = {**given, "TOKENPLACE_TEST_CONTEXT": "tokenplace"}
    shown = run(sys.executable, "-m", "pytest", *tests, **environment)
    assert "2 passed" in shown


def test_an_existing_cluster_needs_an_image_by_digest() -> None:
    demo = [str(BIN / "tokenplace-cluster"), "demo", "--once", "--context=any"]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "RELAY_IMAGE=registry/tokenplace-relay@sha256:..." in done.stdout
