"""Runs every `sh` block of the user documentation, in reading order."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane import optional_apis
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.programs import build, images
from tokenplace_cluster.programs.helm import CHART

UPSTREAM = Path(__file__).parent / "upstream"
DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("quickstart.md", "relay-deploy.md", "troubleshooting.md", "upgrade.md", "migrate.md")
EXPECTED = {
    "app.kubernetes.io/managed-by=tokenplace-operator": "deployment.apps/tokenplace ",
    "helm test tokenplace": "Succeeded",
    "condition=ImagePinned": "condition met",
    "rollout status": "successfully rolled out",
    "ClusterIssuer": "clusterissuer.cert-manager.io/letsencrypt-dns01 created",
    "service gpu-server\n": "gpu-box.example.test",
    "networkpolicy tokenplace": "kubernetes.io/metadata.name: partner",
    "helm show crds": "tokenplacerelays.token.place serverside-applied",
    "helm history": "deployed",
    "kubectl get tokenplacerelays --all": "tokenplace",
    "kubectl tokenplace adopt -f relay.yaml --dry-run": "hand Service tokenplace over to the",
    "kubectl tokenplace status tokenplace": "tokenplace in namespace relays: Ready",
}
"""Part of a command -> text that its output must contain."""

FORBIDDEN = {"app.kubernetes.io/managed-by=tokenplace-operator": "tokenplace-operator"}
"""Part of a command -> text that its output must not contain."""


def blocks(page: str) -> list[str]:
    fence = re.compile(r"^ *```sh\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
    return fence.findall((DOCS / page).read_text())


@pytest.fixture(scope="module")
def chart(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Text of a page -> what replaces it: the local chart and the local image."""
    folder = tmp_path_factory.mktemp("chart")
    copied = folder / CHART.name
    subprocess.run(["cp", "--recursive", str(CHART), str(copied)], check=True)
    values = yaml.safe_load((copied / "values.yaml").read_text())
    pinned = {}
    for name in ("relay", "operator"):
        pinned[name] = images.push(images.build(name), cluster.registry.address)
        where, _, digest = pinned[name].partition("@")
        image = values["image"] if name == "relay" else values["operator"]["image"]
        image |= {"repository": where, "digest": digest}
    (copied / "values.yaml").write_text(yaml.safe_dump(values))
    return {
        "oci://ghcr.io/futuroptimist/charts/tokenplace-relay": str(copied),
        "sha256:" + "1" * 64: pinned["relay"].partition("@")[2],
    }


@pytest.fixture(scope="module")
def shell(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a terminal with kubectl and Helm, on this cluster."""
    home = tmp_path_factory.mktemp("home")
    programs = home / "bin"
    programs.mkdir()
    plugin = Path(sys.executable).with_name("kubectl-tokenplace")
    tools: dict[str, str | Path] = {"kubectl": KUBECTL, "helm": build.program("helm")}
    tools[plugin.name] = plugin
    for name, path in tools.items():
        (programs / name).symlink_to(path)
    search = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": search, "HOME": str(home), "KUBECONFIG": str(cluster.kubeconfig)}
    yield environment
    # Another operator that watches all namespaces would fight over child resources.
    leave = ["helm", "uninstall", "tokenplace", "--namespace=tokenplace", "--ignore-not-found"]
    subprocess.run([*leave, "--wait"], env=environment, check=True)


@pytest.fixture(scope="module")
def upstreams_release(cluster: Cluster, shell: dict[str, str]) -> None:
    """The start of migrate.md: a release of upstream's shape, which runs our relay."""
    image = images.push(images.build("relay"), cluster.registry.address)
    repository, _, digest = image.partition("@")
    values = {"image": {"repository": repository, "digest": digest}}
    where = ["--namespace=relays", "--create-namespace"]
    subprocess.run(
        ["helm", "install", "tokenplace", str(UPSTREAM), *where, "--values=-", "--wait"],
        env=shell,
        input=yaml.safe_dump(values),
        text=True,
        check=True,
    )


@pytest.fixture(scope="module")
def cert_manager(cluster: Cluster) -> Iterator[None]:
    """cert-manager's CRD of a ClusterIssuer, and its namespace; cert-manager does not run."""
    cluster.control_plane.kubectl("create", "namespace", "cert-manager")
    with optional_apis.served(cluster.control_plane, *optional_apis.ISSUERS):
        yield
    cluster.control_plane.kubectl("delete", "namespace", "cert-manager")


@pytest.mark.usefixtures("upstreams_release", "cert_manager")
def test_every_command_of_the_documents_works(
    chart: dict[str, str], shell: dict[str, str], cluster: Cluster
) -> None:
    cluster.dns.set_hosts({"gpu-box.example.test": "192.0.2.7"})
    seen = set()
    for page in PAGES:
        assert blocks(page), page
        for block in blocks(page):
            commands = block
            for text, here in chart.items():
                commands = commands.replace(text, here)
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", commands],
                cwd=shell["HOME"],
                env=shell,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            assert done.returncode == 0, f"{page}:\n{block}\n{done.stdout}\n{done.stderr}"
            for part, wanted in EXPECTED.items():
                if part in block:
                    seen.add(part)
                    assert wanted in done.stdout, f"{page}:\n{block}\n{done.stdout}"
                    refused = FORBIDDEN.get(part)
                    assert not refused or refused not in done.stdout, done.stdout
    assert seen == EXPECTED.keys()


def test_no_command_is_outside_of_a_block_that_runs() -> None:
    for page in PAGES:
        kinds = set(re.findall(r"^ *```(\w*)$", (DOCS / page).read_text(), re.MULTILINE))
        # The `bash` block removes everything; tests/chart runs it on a control plane of its own.
        assert kinds <= {"", "sh", "bash", "yaml", "powershell", "text"}, page
        text = re.sub(r"```.*?```", "", (DOCS / page).read_text(), flags=re.DOTALL)
        assert not re.search(r"^    ?(helm|kubectl) ", text, re.MULTILINE), page
