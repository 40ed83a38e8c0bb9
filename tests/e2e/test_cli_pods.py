"""`kubectl tokenplace` on real pods: the probe, and the logs in a report."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.fixtures import Eventually

BIN = Path(sys.executable).parent
NAME = "cli-relay"
PLANTED = "swordfish-in-the-environment"

Kubectl = Callable[..., str]
Plugin = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def relay(operator: str, relay_image: str, kubectl: Kubectl) -> Iterator[str]:
    """A Ready relay with secrets planted in its pod template; returns the digest that it runs."""
    assert operator
    repository, _, digest = relay_image.partition("@")
    env = [{"name": "LEAK", "value": PLANTED}]
    relay = {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": NAME},
        "spec": {
            "image": {"repository": repository, "digest": digest},
            "gpu": {"mode": "None"},
            "podTemplate": {"env": env, "annotations": {"note": PLANTED}},
        },
    }
    kubectl("apply", "--filename=-", given=relay)
    kubectl("wait", "--for=condition=Ready", f"tpr/{NAME}", "--timeout=90s")
    yield digest
    kubectl("delete", "tpr", NAME)


@pytest.fixture(scope="module")
def plugin(cluster: Cluster) -> Plugin:
    """Run `kubectl tokenplace` with the programs of the environment, or with kubectl alone."""

    def run(
        *arguments: str, path: str = f"{BIN}:{os.environ['PATH']}"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [KUBECTL, "tokenplace", *arguments],
            env={**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_probe_goes_through_the_service(relay: str, plugin: Plugin) -> None:
    assert relay
    done = plugin("probe", NAME)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"probe of {NAME} in default, through Service {NAME}\n")
    assert done.stdout.endswith("passed\n")
    found = json.loads(plugin("probe", NAME, "-o", "json").stdout)
    assert found["passed"]
    assert [one["name"] for one in found["steps"]][-2:] == ["compare", "unregister compute node"]


def test_probe_runs_in_the_pod_when_the_program_is_not_on_the_path(
    relay: str, plugin: Plugin, tmp_path: Path
) -> None:
    assert relay
    for name in ("kubectl", "kubectl-tokenplace"):
        (tmp_path / name).symlink_to(BIN / name)
    done = plugin("probe", NAME, path=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"probe of {NAME} in default, inside pod {NAME}-" in done.stdout
    assert done.stdout.endswith("passed\n")
    missing = plugin("probe", NAME, "--via=service", path=str(tmp_path))
    assert missing.returncode == 2
    assert missing.stderr == (
        "error: tokenplace-relay is not on the PATH; install it, or use --via pod\n"
    )


def test_status_names_the_node_and_the_digest(relay: str, plugin: Plugin, cluster: Cluster) -> None:
    found = json.loads(plugin("status", NAME, "-ojson").stdout)
    (pod,) = found["pods"]
    assert (pod["state"], pod["node"]) == ("ready", cluster.node.name)
    assert pod["image"].endswith(relay)
    assert found["image"]["running"] == relay


def test_report_has_the_logs_and_no_planted_secret(
    relay: str, plugin: Plugin, tmp_path: Path, eventually: Eventually
) -> None:
    path = tmp_path / "report.tar.gz"
    done = eventually(lambda: plugin("report", NAME, f"--file={path}", "-ojson"))
    listed = json.loads(done.stdout)
    assert listed["unreadable"] == []
    with tarfile.open(path) as archive:
        members = {one.name: archive.extractfile(one) for one in archive.getmembers()}
        files = {name: file.read().decode() for name, file in members.items() if file is not None}
    logs = {
        name.split("/")[2].split("-")[0]: text for name, text in files.items() if "logs" in name
    }
    assert "relay.startup" in logs["relay"]
    assert '"event": "leading"' in logs["operator"]
    everything = "".join(files.values())
    assert relay in everything
    assert PLANTED not in everything
