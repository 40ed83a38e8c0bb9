"""From a Helm release of upstream's shape to the operator, under load, without a failed request.

The release runs this repository's relay, and a chart of the same names, labels and selectors as
upstream's: image and charts of upstream cannot be fetched where the tests run.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.programs.helm import Done, Helm, helm_for

CHART = Path(__file__).parent / "upstream"
BIN = Path(sys.executable).parent
KEPT_REQUESTS = 50
"""A client that keeps its connection takes a new one after this many requests."""

Kubectl = Callable[..., str]
Plugin = Callable[..., Done]
Object = dict[str, Any]

INSIDE = """
import sys, urllib.request
passed = 0
while True:
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
            answer.read()
    except Exception as error:
        print("failed after", passed, error, flush=True)
    passed += 1
    if passed % 10 == 0:
        print(passed, flush=True)
"""
"""Sends requests to the name of the Service, each over a new connection."""

NEWER = {
    "ingress": {
        "enabled": True,
        "className": "traefik",
        "host": "token.example",
        "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt-production"},
        "tls": {"enabled": True, "secretName": "tokenplace-tls"},
    },
    "terminationGracePeriodSeconds": 40,
}
OLDER = {
    "gpuExternalName": {"host": "gpu-box.example.test"},
    "ingress": {
        "enabled": True,
        "className": "traefik",
        "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt-dns01"},
        "hosts": [{"host": "relay.token.example"}],
        "tls": [{"secretName": "relay-tls", "hosts": ["relay.token.example"]}],
    },
}
RELEASES = {
    # chart, release: what the release has in addition to the image
    ("tokenplace", "tokenplace"): NEWER,
    ("tokenplace", "prod"): NEWER,
    # Its pods have the very labels that those of the relay will have.
    ("tokenplace-relay", "tokenplace-relay"): OLDER,
}


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release, the folder of its chart, and its values."""

    chart: str
    name: str
    folder: Path
    values: Object

    @property
    def objects(self) -> str:
        """The name of its Deployment, Service and Ingress."""
        return self.name if self.chart in self.name else f"{self.name}-{self.chart}"


@dataclass(slots=True)
class Load:
    """Requests to one address, one after the other, in threads of their own."""

    address: str
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """One client with a new connection for each request, and one that keeps its connection."""
        threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (1, KEPT_REQUESTS)]
        for one in threads:
            one.start()
        try:
            assert self._enough.wait(30), self.failures
            yield
        finally:
            self._stop.set()
            for one in threads:
                one.join()

    def _ask(self, kept: int) -> None:
        while not self._stop.is_set():
            connection = HTTPConnection(self.address, timeout=5)
            try:
                for _ in range(kept):
                    connection.request("GET", "/healthz")
                    response = connection.getresponse()
                    response.read()
                    if response.status != 200:
                        self.failures.append(f"{response.status} after {self.passed}")
                    self.passed += 1
            except (OSError, HTTPException) as error:
                self.failures.append(f"{error!r} after {self.passed}")
            finally:
                connection.close()
            if self.passed > 2 * KEPT_REQUESTS:
                self._enough.set()


@contextmanager
def asking_inside(kubectl: Kubectl, url: str, image: str, eventually: Eventually) -> Iterator[None]:
    """The same from a pod; a failed request is a failed test."""
    command = ["python3", "-c", INSIDE, url]
    container: Object = {"name": "client", "image": image, "command": command}
    container["resources"] = {"limits": {"cpu": "100m"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": "adopt"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    kubectl("apply", "--filename=-", given=pod)

    def asked() -> list[str]:
        return kubectl("logs", "--namespace=adopt", "client").splitlines()

    kubectl("wait", "--namespace=adopt", "--for=condition=Ready", "pod/client", "--timeout=60s")
    before = len(eventually(asked))
    yield
    after = asked()
    assert [line for line in after if line.startswith("failed")] == []
    assert len(after) > before


@pytest.fixture(scope="module")
def helm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return helm_for(tmp_path_factory.mktemp("helm"), cluster.kubeconfig)


@pytest.fixture(scope="module")
def plugin(cluster: Cluster) -> Plugin:
    """Run `kubectl tokenplace` as administrator."""

    def run(*arguments: str, given: str = "") -> Done:
        path = f"{BIN}:{os.environ['PATH']}"
        return subprocess.run(
            [KUBECTL, "tokenplace", *arguments],
            env={**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)},
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def release(
    request: pytest.FixtureRequest,
    helm: Helm,
    kubectl: Kubectl,
    second_image: str,
    tmp_path: Path,
) -> Iterator[Release]:
    """An installed release, whose pod is ready."""
    chart, name = request.param
    folder = tmp_path / chart
    shutil.copytree(CHART, folder)
    described = yaml.safe_load((folder / "Chart.yaml").read_text())
    (folder / "Chart.yaml").write_text(yaml.safe_dump({**described, "name": chart}))
    if chart == "tokenplace-relay":
        made = (folder / "values.yaml").read_text()
        (folder / "values.yaml").write_text(made.replace("older: false", "older: true"))
    repository, _, digest = second_image.partition("@")
    values = {"image": {"repository": repository, "digest": digest}, **RELEASES[request.param]}
    kubectl("create", "namespace", "adopt")
    where = (name, str(folder), "--namespace=adopt", "--wait", "--timeout=120s")
    passed(helm("install", *where, values=values))
    yield Release(chart, name, folder, values)
    kubectl("delete", "namespace", "adopt", "--timeout=120s")


def passed(done: Done) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(kubectl: Kubectl, kind: str, name: str) -> Object:
    found: Object = json.loads(kubectl("get", "--namespace=adopt", kind, name, "--output=json"))
    return found


def imported(helm: Helm, plugin: Plugin, release: Release, digest: str, path: Path) -> Path:
    """The relay that the values of the release become, as a file."""
    values = passed(helm("get", "values", release.name, "--namespace=adopt"))
    chosen = (f"--chart={release.chart}", f"--release={release.name}", "--namespace=adopt")
    file = path / "relay.yaml"
    file.write_text(passed(plugin("import", *chosen, f"--digest={digest}", given=values)))
    return file


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("release", RELEASES, indirect=True, ids="/".join)
def test_a_release_becomes_a_relay_and_no_request_fails(
    *,
    release: Release,
    relay_image: str,
    helm: Helm,
    plugin: Plugin,
    kubectl: Kubectl,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    relay = release.objects
    before = {kind: read(kubectl, kind, relay) for kind in ("deployment", "service", "ingress")}
    address = before["service"]["spec"]["clusterIP"]
    load = Load(address)
    inside = f"http://{relay}.adopt.svc.cluster.local/healthz"
    with load.running(), asking_inside(kubectl, inside, relay_image, eventually):
        file = imported(helm, plugin, release, relay_image.partition("@")[2], tmp_path)
        planned = passed(plugin("adopt", f"--filename={file}", "--dry-run"))
        assert read(kubectl, "deployment", relay)["metadata"] == before["deployment"]["metadata"]
        done = passed(plugin("adopt", f"--filename={file}", "--yes", "--drain=10", "--timeout=90"))
        assert done.startswith(planned)
        kubectl("delete", "--namespace=adopt", "secret", f"-lowner=helm,name={release.name}")
        eventually(lambda: not old_pods(kubectl))
    assert load.failures == []
    assert load.passed > 1000

    kubectl("wait", "--namespace=adopt", "--for=condition=Ready", f"tpr/{relay}", "--timeout=60s")
    uid = read(kubectl, "tpr", relay)["metadata"]["uid"]
    for kind in ("service", "ingress"):
        after = read(kubectl, kind, relay)
        assert after["metadata"]["uid"] == before[kind]["metadata"]["uid"]
        assert [one["uid"] for one in after["metadata"]["ownerReferences"]] == [uid]
    assert read(kubectl, "service", relay)["spec"]["clusterIP"] == address
    assert read(kubectl, "ingress", relay)["spec"]["tls"] == before["ingress"]["spec"]["tls"]
    assert read(kubectl, "deployment", relay)["metadata"]["ownerReferences"][0]["uid"] == uid
    probed = [str(BIN / "tokenplace-relay"), "probe", f"http://{address}"]
    passed(subprocess.run(probed, capture_output=True, text=True, check=False))
    listed = kubectl("get", "--namespace=adopt", "pdb,hpa,replicaset", "--output=name").split()
    assert [one.partition("/")[0] for one in listed] == ["replicaset.apps"]
    nothing = f"{relay} in namespace adopt: no object of upstream's charts uses its names\n"
    assert passed(plugin("adopt", f"--filename={file}", "--yes")) == nothing
    assert json.loads(passed(helm("list", "--namespace=adopt", "--output=json"))) == []


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("release", [("tokenplace", "tokenplace")], indirect=True, ids="/".join)
def test_the_way_back_before_the_switch_refuses_no_request_either(
    *, release: Release, helm: Helm, plugin: Plugin, kubectl: Kubectl, tmp_path: Path
) -> None:
    (old,) = old_pods(kubectl)
    load = Load(read(kubectl, "service", release.objects)["spec"]["clusterIP"])
    with load.running():
        # No such image: its pods never get ready.
        file = imported(helm, plugin, release, f"sha256:{'d' * 64}", tmp_path)
        stopped = plugin("adopt", f"--filename={file}", "--yes", "--timeout=5")
        assert stopped.returncode == 1
        assert "timed out after 5 s, waiting until the new pods are ready" in stopped.stderr
        kubectl("delete", "--namespace=adopt", "tpr", release.objects)
        where = (release.name, str(release.folder), "--namespace=adopt")
        passed(helm("upgrade", *where, "--wait", "--timeout=90s", values=release.values))
    assert load.failures == []
    assert old_pods(kubectl) == [old]


def old_pods(kubectl: Kubectl) -> list[str]:
    """Pods that are not those of the relay's own Deployment."""
    pods = json.loads(kubectl("get", "--namespace=adopt", "pods", "--output=json"))["items"]
    labels = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in pods}
    return [
        name
        for name, found in labels.items()
        if "pod-template-hash" in found
        and found.get("app.kubernetes.io/managed-by") != "tokenplace-operator"
    ]
