"""The operator runs a relay in real pods: image, hardening, GPU traffic, drain and rollout."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.forward import forwarded
from tokenplace_cluster.subjects.gpu_server import ANSWER as GPU_ANSWER
from tokenplace_cluster.subjects.gpu_server import HOST as GPU_HOST
from tokenplace_cluster.subjects.gpu_server import PORT as GPU_PORT
from tokenplace_cluster.subjects.gpu_server import gpu_server as serving_gpu
from tokenplace_cluster.subjects.pod_programs import ASK_GPU, ENVIRONMENT, STATUS, WRITE
from tokenplace_relay.peers.client import Client
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import RelayConnection
from tokenplace_relay.protocol.envelope import Identity

ROOT = Path(__file__).parents[2]
MODEL = "qwen3-8b-instruct"
READY_SECONDS = 60

Kubectl = Callable[..., str]
Object = dict[str, Any]


@pytest.fixture(scope="module")
def gpu_server(cluster: Cluster) -> Iterator[str]:
    with serving_gpu(cluster) as address:
        yield address


@pytest.fixture(scope="module")
def installed(
    operator: str, relay_image: str, kubectl: Kubectl, eventually: Eventually
) -> Iterator[str]:
    """A relay of the first image, for all tests of this module; returns its name."""
    assert operator
    kubectl("apply", "--filename=-", given=sample(relay_image))
    yield "relay"
    kubectl("delete", "tpr", "relay")
    eventually(lambda: not kubectl("get", "pods", "-lapp.kubernetes.io/instance=relay", "-oname"))


@pytest.fixture
def relay(installed: str, kubectl: Kubectl, eventually: Eventually) -> str:
    """The relay, Ready at the start of the test; returns its name."""
    wait_until_ready(kubectl, eventually)
    return installed


def test_runs_the_digest_of_the_spec_hardened(
    relay: str, relay_image: str, kubectl: Kubectl
) -> None:
    digest = relay_image.partition("@")[2]
    pod = the_pod(kubectl)
    assert pod["status"]["containerStatuses"][0]["imageID"].endswith(digest)
    assert read(kubectl, relay)["status"]["image"]["running"] == digest
    inside = dict(
        line.split(":\t", 1) for line in in_pod(kubectl, STATUS).splitlines() if ":\t" in line
    )
    assert inside["Uid"].split() == ["1000"] * 4
    assert inside["Gid"].split() == ["1000"] * 4
    assert {int(inside[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert inside["NoNewPrivs"].strip() == "1"
    assert inside["Seccomp"].strip() == "2"
    assert "Read-only file system" in in_pod(kubectl, WRITE)


def test_probe_passes_through_the_service(relay: str, login: str) -> None:
    with forwarded((KUBECTL, login), f"service/{relay}", 80) as url:
        probe(url)


def test_probe_passes_through_the_address_of_the_service(
    relay: str, kubectl: Kubectl, cluster: Cluster
) -> None:
    """The packets pass through kube-proxy's rules for the Service, as those of pods do."""
    assert cluster.node
    address = kubectl("get", "service", relay, "--output=jsonpath={.spec.clusterIP}")
    probe(f"http://{address}")


@pytest.mark.parametrize("mode", ["ExternalName", "Headless"])
def test_gpu_traffic_arrives(
    mode: str, relay: str, gpu_server: str, kubectl: Kubectl, eventually: Eventually
) -> None:
    target = {
        "host": GPU_HOST if mode == "ExternalName" else None,
        "addresses": [gpu_server] if mode == "Headless" else None,
    }
    change(kubectl, {"gpu": {"mode": mode, "port": GPU_PORT, **target}})
    wait_until_ready(kubectl, eventually)
    assert eventually(lambda: in_pod(kubectl, ASK_GPU)) == GPU_ANSWER
    environment = json.loads(in_pod(kubectl, ENVIRONMENT))
    variables = {"TOKENPLACE_GPU_HOST", "TOKENPLACE_GPU_PORT"}
    expected = variables if mode == "ExternalName" else set()
    assert variables & environment.keys() == expected
    assert relay in kubectl("get", "tpr", "--output=name")


async def test_a_deleted_pod_finishes_its_work(relay: str, kubectl: Kubectl, login: str) -> None:
    pod = await asyncio.to_thread(the_pod, kubectl)
    name = pod["metadata"]["name"]
    watch = await watch_pod(login, name)
    with forwarded((KUBECTL, login), f"pod/{name}", 5010) as url:
        await finish_work_during_drain(url, relay, partial(kubectl, "delete", "pod", name))
    assert await exit_code(watch) == 0


async def finish_work_during_drain(url: str, relay: str, delete: Callable[[str], str]) -> None:
    """Claim a request, delete the relay's pod, answer the request, and read the answer."""
    async with aiohttp.ClientSession() as session:
        connection = RelayConnection(session, url)
        keys = await asyncio.gather(*(asyncio.to_thread(Identity.create) for _ in range(2)))
        node, client = ComputeNode(connection, keys[0], (MODEL,)), Client(connection, keys[1])
        await node.register()
        request_id = await client.send(
            keys[0].public, MODEL, [{"role": "user", "content": f"are you there, {relay}?"}]
        )
        work = await node.poll()
        assert work is not None
        await asyncio.to_thread(delete, "--wait=false")
        await asyncio.to_thread(wait_until_draining, url)
        assert await node.control(work) == "active"
        await node.respond(work)
        answer = await client.wait_for_answer(request_id)
        assert answer["message"]["content"] == f"are you there, {relay}?"


def test_new_digest_rolls_out_and_a_missing_one_is_reported(
    relay: str, relay_image: str, second_image: str, kubectl: Kubectl, eventually: Eventually
) -> None:
    first, second = (one.partition("@")[2] for one in (relay_image, second_image))
    change(kubectl, {"image": {"digest": second}})
    wait_until_ready(kubectl, eventually)
    eventually(lambda: read(kubectl, relay)["status"]["image"]["running"] == second)

    change(kubectl, {"image": {"digest": "sha256:" + "d" * 64}})

    def pull_failed() -> bool:
        ready = condition(read(kubectl, relay), "Ready")
        assert ready["reason"] == "ImagePullFailed", ready
        return bool(ready["status"] == "False")

    eventually(pull_failed, seconds=READY_SECONDS)
    change(kubectl, {"image": {"digest": first}})
    wait_until_ready(kubectl, eventually)
    eventually(lambda: read(kubectl, relay)["status"]["image"]["running"] == first)


def probe(url: str) -> None:
    program = str(Path(sys.executable).with_name("tokenplace-relay"))
    done = subprocess.run([program, "probe", url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sample(image: str) -> Object:
    example: Object = yaml.safe_load((ROOT / "deploy/examples/minimal.yaml").read_text())
    repository, _, digest = image.partition("@")
    example["metadata"]["name"] = "relay"
    example["spec"]["image"] = {"repository": repository, "digest": digest}
    return example


def change(kubectl: Kubectl, spec: Object) -> None:
    kubectl("patch", "tpr", "relay", "--type=merge", f"--patch={json.dumps({'spec': spec})}")


def read(kubectl: Kubectl, name: str) -> Object:
    relay: Object = json.loads(kubectl("get", "tpr", name, "--output=json"))
    return relay


def condition(relay: Object, kind: str) -> Object:
    conditions = relay.get("status", {}).get("conditions", [])
    matching = [condition for condition in conditions if condition["type"] == kind]
    assert matching, f"no condition {kind}: {relay.get('status')}"
    return dict(matching[0])


def wait_until_ready(kubectl: Kubectl, eventually: Eventually) -> None:
    def ready() -> bool:
        relay = read(kubectl, "relay")
        summary = condition(relay, "Ready")
        assert summary["status"] == "True", summary
        return bool(relay["status"]["observedGeneration"] == relay["metadata"]["generation"])

    eventually(ready, seconds=READY_SECONDS)


def the_pod(kubectl: Kubectl) -> Object:
    pods = json.loads(
        kubectl("get", "pods", "--selector=app.kubernetes.io/instance=relay", "--output=json")
    )["items"]
    (pod,) = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return dict(pod)


def in_pod(kubectl: Kubectl, code: str) -> str:
    name = the_pod(kubectl)["metadata"]["name"]
    return kubectl("exec", name, "--", "python3", "-c", code)


def wait_until_draining(url: str) -> None:
    """Wait for this response of /healthz, on a socket that is still open."""
    while (answer := health(url)) == (200, "ok"):
        pass
    assert answer == (503, "draining")


def health(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as response:
            return response.status, json.load(response)["status"]
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)["status"]


async def watch_pod(login: str, name: str) -> asyncio.subprocess.Process:
    path = "jsonpath={.status.containerStatuses[*].state.terminated.exitCode}{'\\n'}"
    return await asyncio.create_subprocess_exec(
        KUBECTL,
        login,
        "get",
        "pod",
        name,
        "--watch",
        f"--output={path}",
        stdout=asyncio.subprocess.PIPE,
    )


async def exit_code(watch: asyncio.subprocess.Process) -> int:
    """The exit code of the pod's container, read from a watch of the pod."""
    assert watch.stdout is not None
    try:
        async with asyncio.timeout(60):
            while line := await watch.stdout.readline():
                if line.strip():
                    return int(line)
    finally:
        watch.terminate()
        await watch.wait()
    raise AssertionError("the pod was deleted without an exit code")
