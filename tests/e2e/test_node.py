"""The test cluster itself: its node runs pods, and nothing of it remains afterwards."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.node import cleanup
from tokenplace_cluster.programs.cache import cache_directory

Kubectl = Callable[..., str]
Traces = dict[str, set[str]]

PROGRAMS = {
    "containerd", "containerd-shim", "kubelet", "kube-proxy", "kube-apiserver", "kube-scheduler",
    "kube-controller", "etcd", "docker-registry", "coredns", "unshare", "nsenter", "runc", "pause",
    "witness",
}  # fmt: skip

DRIVER = """
import signal
import sys
from pathlib import Path
from tokenplace_cluster.cluster import Cluster
# A background job of a shell starts with SIGINT ignored, and so would its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Cluster.start(Path(sys.argv[1])) as cluster:
    print("up", cluster.kubeconfig, cluster.push_witness(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def witness(cluster: Cluster, kubectl: Kubectl) -> str:
    """A pod of the test image behind a Service; returns the reference of the image by digest."""
    image = cluster.push_witness()
    kubectl("apply", "-f", "-", given=pod(image))
    kubectl("apply", "-f", "-", given=service("front", {"selector": {"app": "witness"}}))
    external = {"type": "ExternalName", "externalName": "gpu.example.test"}
    kubectl("apply", "-f", "-", given=service("gpu", external))
    kubectl("wait", "--for=condition=Ready", "pod/witness", "--timeout=60s")
    return image


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, since paths of the kubelet's sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="node-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def test_node_is_ready_and_reports_its_version(cluster: Cluster, kubectl: Kubectl) -> None:
    (node,) = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    ready = [one["status"] for one in node["status"]["conditions"] if one["type"] == "Ready"]
    assert ready == ["True"]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.35.4"
    assert node["metadata"]["name"] == cluster.node.name


def test_image_is_pulled_by_digest_from_the_local_registry(
    cluster: Cluster, kubectl: Kubectl, witness: str
) -> None:
    (status,) = json.loads(kubectl("get", "pod", "witness", "-o", "json"))["status"][
        "containerStatuses"
    ]
    assert status["imageID"] == witness
    assert witness.startswith(f"{cluster.registry.address}/witness@sha256:")


@pytest.mark.usefixtures("witness")
def test_logs_and_exec_reach_the_container(kubectl: Kubectl) -> None:
    assert kubectl("logs", "witness").splitlines()[0] == "serving as witness"
    assert in_pod(kubectl, "fetch", "http://localhost:8080/") == "witness"


@pytest.mark.usefixtures("witness")
def test_pod_resolves_services_and_external_names(
    cluster: Cluster, kubectl: Kubectl, eventually: Eventually
) -> None:
    for name in ("front", "kubernetes.default"):
        spec = json.loads(kubectl("get", "service", name.split(".")[0], "-o", "json"))["spec"]
        assert in_pod(kubectl, "resolve", name) == spec["clusterIP"]
    cluster.dns.set_hosts({"gpu.example.test": "192.0.2.77"})

    def resolved() -> bool:
        return in_pod(kubectl, "resolve", "gpu") == "192.0.2.77"

    eventually(resolved)


@pytest.mark.usefixtures("witness")
def test_service_carries_traffic_from_pods_and_from_the_machine(
    kubectl: Kubectl, eventually: Eventually
) -> None:
    # kube-proxy writes its rules at most once a second.
    assert eventually(lambda: in_pod(kubectl, "fetch", "http://front/")) == "witness"
    address = kubectl("get", "service", "front", "-o", "jsonpath={.spec.clusterIP}")
    with urllib.request.urlopen(f"http://{address}/", timeout=5) as response:
        assert response.read() == b"witness\n"


def test_a_pod_reaches_the_api_server_and_verifies_it(kubectl: Kubectl, witness: str) -> None:
    assert witness
    mounted = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    url = "https://kubernetes.default.svc/livez"
    assert in_pod(kubectl, "fetch", url, mounted) == "ok"


def test_nothing_remains_after_a_stop(folder: Path, eventually: Eventually) -> None:
    before = traces()
    with driver(folder) as process:
        assert new_since(before)["links"], "the snapshot does not see a running cluster"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=150) == 0
    eventually(lambda: assert_nothing_new_since(before))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_nothing_remains_after_an_interrupt(
    folder: Path, name: str, eventually: Eventually
) -> None:
    before = traces()
    with driver(folder) as process:
        process.send_signal(signal.Signals[name])
        process.wait(timeout=150)
    eventually(lambda: assert_nothing_new_since(before))


def test_clean_removes_the_remains_of_a_killed_driver(folder: Path, eventually: Eventually) -> None:
    before = traces()
    with driver(folder) as process:
        process.kill()
        process.wait(timeout=10)
    assert new_since(before)["cgroups"], "the kill left nothing to clean"
    assert cleanup.clean(folder)
    eventually(lambda: assert_nothing_new_since(before))
    assert cleanup.clean(folder) == []


def pod(image: str) -> dict[str, Any]:
    container = {
        "name": "witness",
        "image": image,
        "args": ["serve"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "witness", "labels": {"app": "witness"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def service(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": ports, **spec},
    }


def in_pod(kubectl: Kubectl, *arguments: str) -> str:
    return kubectl("exec", "witness", "--", "/witness", *arguments)


@contextlib.contextmanager
def driver(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a cluster with a pod in the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        with process.stdout as output:
            line = output.readline()
        assert line.startswith("up "), "the driver failed; its error output says why"
        _, kubeconfig, image = line.split()
        run_pod(kubeconfig, image)
        yield process


def run_pod(kubeconfig: str, image: str) -> None:
    kubectl = [KUBECTL, f"--kubeconfig={kubeconfig}"]
    given = json.dumps(pod(image)).encode()
    subprocess.run([*kubectl, "apply", "-f", "-"], input=given, check=True, capture_output=True)
    waiting = ["wait", "--for=condition=Ready", "pod/witness", "--timeout=60s"]
    subprocess.run([*kubectl, *waiting], check=True, capture_output=True)


def traces() -> Traces:
    """Everything that a node would leave on this machine without a cleanup."""
    return {
        "processes": set(_processes()),
        "mounts": set(_mounts()),
        "links": {one["ifname"] for one in json.loads(_output("ip", "-json", "link"))},
        "routes": set(_output("ip", "route").splitlines()),
        "namespaces": set(_output("ip", "netns").splitlines()),
        "tables": set(_output("nft", "list", "tables").splitlines()),
        "cgroups": {folder for folder, _, _ in os.walk("/sys/fs/cgroup")},
        "tunables": {f"{one}={_read(one)}" for one in _tunables()},
        "places": {str(one) for place in _PLACES for one in Path(place).glob("*")},
        "records": set(_records()),
    }


_PLACES = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/kubelet", "/var/log/pods")


def new_since(before: Traces) -> Traces:
    return {kind: found - before[kind] for kind, found in traces().items()}


def assert_nothing_new_since(before: Traces) -> bool:
    left = {kind: found for kind, found in new_since(before).items() if found}
    assert left == {}
    return True


def _mounts() -> Iterator[str]:
    """Mount points, without those of images that another process of this test run builds."""
    images = str(cache_directory() / "images")
    for line in _read("/proc/self/mountinfo"):
        mount_point = line.split()[4]
        if not mount_point.startswith(images):
            yield mount_point


def _processes() -> Iterator[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name = (folder / "comm").read_text().strip()
            if name in PROGRAMS and not _is_of_other_worker(int(folder.name)):
                yield f"{folder.name} {name}"


def _records() -> Iterator[str]:
    for path in cleanup.RECORDS.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if not _is_of_other_worker(cleanup.Record.load(path).driver.pid):
                yield str(path)


def _is_of_other_worker(pid: int) -> bool:
    """Whether it descends from another process of this test run; remains have no such parent."""
    while pid not in {0, 1, os.getpid()}:
        if pid == os.getppid():
            return True
        stat = cleanup.stat_of(pid)
        pid = int(stat[1]) if stat else 0
    return False


def _tunables() -> list[str]:
    return [f"/proc/sys/{name}" for name in ("vm/overcommit_memory", "kernel/panic",
            "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max")
            if Path("/proc/sys", name).exists()]  # fmt: skip


def _read(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
