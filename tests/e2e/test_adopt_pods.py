"""Moves a Helm release of upstream's shape to the operator, under load, without a failed request.

The release runs the relay of this repository, from a chart with the names, labels and selectors of
upstream's charts. Upstream's own image and charts cannot be fetched where the tests run.
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
"""Requests of one connection before the client opens the next."""
DRAIN_SECONDS = 5

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
"""Sends requests to the name of the Service, each on a new connection."""

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
    # (chart, release): values other than the image
    ("tokenplace", "tokenplace"): NEWER,
    ("tokenplace", "prod"): NEWER,
    # Its pods already have the labels that the pods of the relay will have.
    ("tokenplace-relay", "tokenplace-relay"): OLDER,
}


@dataclass(frozen=True, slots=True)
class Release:
    """A Helm release, the folder of its chart, its values and its namespace."""

    chart: str
    name: str
    namespace: str
    folder: Path
    values: Object

    @property
    def objects(self) -> str:
        """The name of its Deployment, Service and Ingress."""
        return self.name if self.chart in self.name else f"{self.name}-{self.chart}"


@dataclass(slots=True)
class Load:
    """Requests to one address, sent by two threads, each one after the other."""

    address: str
    passed: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _enough: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a client that connects for each request, and one that keeps its connection."""
        threads = [threading.Thread(target=self._send, args=(kept,)) for kept in (1, KEPT_REQUESTS)]
        for thread in threads:
            thread.start()
        try:
            assert self._enough.wait(30), self.failures
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _send(self, kept: int) -> None:
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
def requests_from_pod(
    kubectl: Kubectl, release: Release, image: str, eventually: Eventually
) -> Iterator[None]:
    """Send requests from a pod too; a failed request is a failed test."""
    where = f"--namespace={release.namespace}"
    url = f"http://{release.objects}.{release.namespace}.svc.cluster.local/healthz"
    command = ["python3", "-c", INSIDE, url]
    container: Object = {"name": "client", "image": image, "command": command}
    container["resources"] = {"limits": {"cpu": "100m"}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": release.namespace},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    kubectl("apply", "--filename=-", given=pod)

    def log_lines() -> list[str]:
        return kubectl("logs", where, "client").splitlines()

    kubectl("wait", where, "--for=condition=Ready", "pod/client", "--timeout=60s")
    before = len(eventually(log_lines))
    yield
    after = log_lines()
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
    """An installed release with a ready pod, in a namespace of its own."""
    chart, name = request.param
    namespace = f"adopt-{os.urandom(4).hex()}"
    folder = tmp_path / chart
    shutil.copytree(CHART, folder)
    described = yaml.safe_load((folder / "Chart.yaml").read_text())
    (folder / "Chart.yaml").write_text(yaml.safe_dump({**described, "name": chart}))
    if chart == "tokenplace-relay":
        made = (folder / "values.yaml").read_text()
        (folder / "values.yaml").write_text(made.replace("older: false", "older: true"))
    repository, _, digest = second_image.partition("@")
    values = {"image": {"repository": repository, "digest": digest}, **RELEASES[request.param]}
    kubectl("create", "namespace", namespace)
    where = (name, str(folder), f"--namespace={namespace}", "--wait", "--timeout=120s")
    passed(helm("install", *where, values=values))
    yield Release(chart, name, namespace, folder, values)
    # Its pods drain while the next test runs.
    kubectl("delete", "namespace", namespace, "--wait=false")


def passed(done: Done) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(kubectl: Kubectl, release: Release, kind: str) -> Object:
    where = (f"--namespace={release.namespace}", "--output=json")
    obj: Object = json.loads(kubectl("get", kind, release.objects, *where))
    return obj


def imported(helm: Helm, plugin: Plugin, release: Release, digest: str, path: Path) -> Path:
    """Convert the values of the release to a TokenplaceRelay; return the file that holds it."""
    where = f"--namespace={release.namespace}"
    values = passed(helm("get", "values", release.name, where))
    chosen = (f"--chart={release.chart}", f"--release={release.name}", where)
    file = path / "relay.yaml"
    file.write_text(passed(plugin("import", *chosen, f"--digest={digest}", given=values)))
    return file


@pytest.mark.timeout(400, func_only=True)
@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("release", RELEASES, indirect=True, ids="/".join)
def test_adopting_a_release_fails_no_request(
    *,
    release: Release,
    relay_image: str,
    helm: Helm,
    plugin: Plugin,
    kubectl: Kubectl,
    tmp_path: Path,
    eventually: Eventually,
) -> None:
    relay, where = release.objects, f"--namespace={release.namespace}"
    before = {kind: read(kubectl, release, kind) for kind in ("deployment", "service", "ingress")}
    address = before["service"]["spec"]["clusterIP"]
    load = Load(address)
    with load.running(), requests_from_pod(kubectl, release, relay_image, eventually):
        file = imported(helm, plugin, release, relay_image.partition("@")[2], tmp_path)
        planned = passed(plugin("adopt", f"--filename={file}", "--dry-run"))
        assert read(kubectl, release, "deployment")["metadata"] == before["deployment"]["metadata"]
        limits = (f"--drain={DRAIN_SECONDS}", "--timeout=90")
        done = passed(plugin("adopt", f"--filename={file}", "--yes", *limits))
        assert done.startswith(planned)
        kubectl("delete", where, "secret", f"-lowner=helm,name={release.name}")
        eventually(lambda: not old_pods(kubectl, release))
    assert load.failures == []
    assert load.passed > 1000

    kubectl("wait", where, "--for=condition=Ready", f"tpr/{relay}", "--timeout=60s")
    uid = read(kubectl, release, "tpr")["metadata"]["uid"]
    for kind in ("service", "ingress"):
        after = read(kubectl, release, kind)
        assert after["metadata"]["uid"] == before[kind]["metadata"]["uid"]
        assert [owner["uid"] for owner in after["metadata"]["ownerReferences"]] == [uid]
    assert read(kubectl, release, "service")["spec"]["clusterIP"] == address
    assert read(kubectl, release, "ingress")["spec"]["tls"] == before["ingress"]["spec"]["tls"]
    deployment = read(kubectl, release, "deployment")
    assert deployment["metadata"]["ownerReferences"][0]["uid"] == uid
    probed = [str(BIN / "tokenplace-relay"), "probe", f"http://{address}"]
    passed(subprocess.run(probed, capture_output=True, text=True, check=False))
    listed = kubectl("get", where, "pdb,hpa,replicaset", "--output=name").split()
    assert [name.partition("/")[0] for name in listed] == ["replicaset.apps"]
    nothing = (
        f"{relay} in namespace {release.namespace}: no object of upstream's charts uses its names\n"
    )
    assert passed(plugin("adopt", f"--filename={file}", "--yes")) == nothing
    assert json.loads(passed(helm("list", where, "--output=json"))) == []


@pytest.mark.timeout(400, func_only=True)
@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("release", [("tokenplace", "tokenplace")], indirect=True, ids="/".join)
def test_a_rollback_before_the_switch_fails_no_request(
    *, release: Release, helm: Helm, plugin: Plugin, kubectl: Kubectl, tmp_path: Path
) -> None:
    (old,) = old_pods(kubectl, release)
    load = Load(read(kubectl, release, "service")["spec"]["clusterIP"])
    with load.running():
        # No registry has this image, so its pods never become ready.
        file = imported(helm, plugin, release, f"sha256:{'d' * 64}", tmp_path)
        stopped = plugin("adopt", f"--filename={file}", "--yes", "--timeout=5")
        assert stopped.returncode == 1
        assert "timed out after 5 s, waiting until the new pods are ready" in stopped.stderr
        where = f"--namespace={release.namespace}"
        kubectl("delete", where, "tpr", release.objects)
        chart = (release.name, str(release.folder), where)
        passed(helm("upgrade", *chart, "--wait", "--timeout=90s", values=release.values))
    assert load.failures == []
    assert old_pods(kubectl, release) == [old]


def old_pods(kubectl: Kubectl, release: Release) -> list[str]:
    """The names of the pods that the release's own Deployment made."""
    where = (f"--namespace={release.namespace}", "--output=json")
    pods = json.loads(kubectl("get", "pods", *where))["items"]
    labels = {pod["metadata"]["name"]: pod["metadata"].get("labels", {}) for pod in pods}
    return [
        name
        for name, pod_labels in labels.items()
        if "pod-template-hash" in pod_labels
        and pod_labels.get("app.kubernetes.io/managed-by") != "tokenplace-operator"
    ]
