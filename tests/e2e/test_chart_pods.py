"""The chart on a node: operator, relay, probe and CRD upgrade run as real pods."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.programs import build, images
from tokenplace_cluster.programs.helm import CHART, Done, Helm, Object, helm_for

E2E = Path(__file__).parents[2] / ".ci" / "e2e"
NAMESPACE = "chart"
CRD = "tokenplacerelays.token.place"

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def values(cluster: Cluster) -> Object:
    """Both images by digest, from the registry of the cluster."""
    pinned = {}
    for name in ("relay", "operator"):
        reference = images.push(images.build(name), cluster.registry.address)
        repository, _, digest = reference.partition("@")
        pinned[name] = {"repository": repository, "digest": digest}
    return {"image": pinned["relay"], "operator": {"image": pinned["operator"]}}


@pytest.fixture(scope="module")
def helm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return helm_for(tmp_path_factory.mktemp("helm"), cluster.kubeconfig)


@pytest.fixture(scope="module")
def release(helm: Helm, kubectl: Kubectl, values: Object) -> Iterator[str]:
    """The chart installed in one step; returns the release's name."""
    kubectl("create", "namespace", NAMESPACE)
    level = "pod-security.kubernetes.io/enforce=restricted"
    kubectl("label", "namespace", NAMESPACE, level)
    where = ("tokenplace", str(CHART), f"--namespace={NAMESPACE}", "--wait", "--timeout=120s")
    passed(helm("install", *where, values=values))
    yield "tokenplace"
    passed(helm("uninstall", "tokenplace", f"--namespace={NAMESPACE}", "--wait", "--timeout=90s"))
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def passed(done: Done) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def wait_until_ready(kubectl: Kubectl, name: str) -> None:
    where = (f"--namespace={NAMESPACE}", f"tokenplacerelay/{name}", "--timeout=120s")
    kubectl("wait", "--for=condition=Ready", *where)


def test_the_relay_becomes_ready_on_the_digest_of_the_values(
    release: str, kubectl: Kubectl, values: Object
) -> None:
    wait_until_ready(kubectl, release)
    digest = values["image"]["digest"]
    get = ("get", f"--namespace={NAMESPACE}", "--output=json")
    relay = json.loads(kubectl(*get, "tokenplacerelay", release))
    assert relay["status"]["image"]["running"] == digest
    deployment = json.loads(kubectl(*get, "deployment", release))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"@{digest}")
    (pod,) = json.loads(kubectl(*get, "pods", "-lapp.kubernetes.io/name=tokenplace-relay"))["items"]
    assert pod["status"]["containerStatuses"][0]["imageID"].endswith(digest)


def test_helm_test_carries_an_encrypted_round_trip(
    release: str, helm: Helm, kubectl: Kubectl
) -> None:
    wait_until_ready(kubectl, release)
    done = helm("test", release, f"--namespace={NAMESPACE}", "--timeout=120s")
    passed(done)
    assert "Phase:          Succeeded" in done.stdout


def test_helm_test_fails_when_the_relay_does_not_answer(
    release: str, helm: Helm, kubectl: Kubectl, values: Object
) -> None:
    where = (release, str(CHART), f"--namespace={NAMESPACE}", "--timeout=120s")
    try:
        passed(
            helm(
                "upgrade", *where, values={**values, "replicas": 0, "probe": {"timeoutSeconds": 10}}
            )
        )
        kubectl(
            "wait", f"--namespace={NAMESPACE}", "--for=delete", "pod", "--timeout=60s",
            "--selector=app.kubernetes.io/name=tokenplace-relay",
        )  # fmt: skip
        assert helm("test", release, f"--namespace={NAMESPACE}", "--timeout=60s").returncode != 0
    finally:
        passed(helm("upgrade", *where, values=values))


def test_an_upgrade_updates_the_crd_from_a_job(
    release: str, helm: Helm, kubectl: Kubectl, values: Object
) -> None:
    old = yaml.safe_load((CHART / "crds" / "tokenplacerelays.yaml").read_text())
    wanted = old["metadata"].pop("annotations")
    spec = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["paused"]
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=helm")
    kubectl(*apply, "--filename=-", given=old)
    where = (release, str(CHART), f"--namespace={NAMESPACE}", "--timeout=120s")
    passed(helm("upgrade", *where, values={**values, "paused": True}))
    live = json.loads(kubectl("get", "crd", CRD, "--output=json"))
    assert live["metadata"]["annotations"].items() >= wanted.items()
    paused = "--output=jsonpath={.spec.paused}"
    relay = ("get", f"--namespace={NAMESPACE}", "tokenplacerelay", release)
    assert kubectl(*relay, paused) == "true"
    passed(helm("upgrade", *where, values=values))
    assert kubectl(*relay, paused) != "true"


def test_the_packet_script_fails_on_a_network_without_policy_enforcement(
    cluster: Cluster, tmp_path: Path
) -> None:
    """All packets that must arrive do, and the first one that must be denied is not."""
    references = []
    for name in ("relay", "operator"):
        image = images.build(name)
        images.push(image, cluster.registry.address)
        references.append(f"{cluster.registry.address}/tokenplace-{name}:{image.tag}")
    (tmp_path / "kubectl").symlink_to(KUBECTL)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "HELM": str(build.program("helm")),
        "KUBECONFIG": str(cluster.kubeconfig),
    }
    try:
        done = subprocess.run(
            [E2E, *references], env=environment, capture_output=True, text=True, check=False
        )
    finally:
        for name in ("tokenplace", "elsewhere"):
            cluster.control_plane.kubectl("delete", "namespace", name, "--timeout=90s")
    lines = done.stdout.splitlines()
    assert "allowed: the ingress controller to the relay" in lines, done.stderr
    assert "allowed: any pod to another port of the GPU server" in lines, done.stderr
    assert "allowed: any pod to the API server" in lines, done.stderr
    assert "allowed: the relay to its GPU server" in lines, done.stderr
    assert "allowed: another pod to the operator without its policy" in lines, done.stderr
    failure = "NOT DENIED, but it must be: a pod of another namespace to the relay"
    assert done.stderr.splitlines()[-1] == failure
    assert done.returncode == 1
