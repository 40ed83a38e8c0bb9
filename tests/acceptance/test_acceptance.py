"""The acceptance list, in its order; docs/acceptance.md takes its text from the docstrings."""

import asyncio
import json
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tokenplace_cluster.documents.acceptance_stage import HOST, MONITORING, NAME, Stage
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.programs import images
from tokenplace_cluster.programs.policy_verdicts import outside, verdicts
from tokenplace_cluster.subjects.gpu_server import ANSWER as GPU_ANSWER
from tokenplace_cluster.subjects.gpu_server import HOST as GPU_HOST
from tokenplace_cluster.subjects.gpu_server import PORT as GPU_PORT
from tokenplace_cluster.subjects.gpu_server import gpu_server
from tokenplace_cluster.subjects.pod_programs import ASK_GPU, ENVIRONMENT, TOKEN, WRITE
from tokenplace_harness.rollout import Tally, peers_at_work, session_at
from tokenplace_harness.wait import eventually
from tokenplace_relay.peers.connection import RelayConnection

ALERT = "TokenplaceRelayDown"
HURRIED = "hurried"
ENOUGH = 20
"""Requests before and after a rollout."""
GPU_VARIABLES = ("TOKENPLACE_GPU_HOST", "TOKENPLACE_GPU_PORT")

Object = dict[str, Any]
Show = Callable[[str], None]


@pytest.mark.parametrize("name", ["relay", "operator"])
def test_images(name: images.Name, show: Show) -> None:
    """1. Images, built by our Dockerfiles.

    The same steps run for arm64 in `.github/workflows/build.yml`. `tests/ci/test_publish.py` shows
    what is published, and under which tags.
    """
    config: Any = images.inspect(images.build(name))["OCIv1"]
    labels = config["config"]["Labels"]
    wanted = ("source", "revision", "created", "version", "licenses")
    found = {one: labels[f"org.opencontainers.image.{one}"] for one in wanted}
    assert found["licenses"] == "MIT"
    assert found["revision"] == "local"
    assert config["config"]["User"] == "1000:1000"
    show(f"{name}: {config['os']}/{config['architecture']}, user {config['config']['User']}")
    show("  " + ", ".join(f"{label} {value}" for label, value in found.items()))


def test_digest(stage: Stage, show: Show) -> None:
    """2. The digest of the chart's values is what runs."""
    wanted = stage.digests[0]
    relay = stage.read("tpr")
    (container,) = stage.read("deployment")["spec"]["template"]["spec"]["containers"]
    (running,) = stage.pod()["status"]["containerStatuses"]
    seen = {
        "the chart's values": stage.values["image"]["digest"],
        "TokenplaceRelay": relay["spec"]["image"]["digest"],
        "Deployment": container["image"].partition("@")[2],
        "the pod's container, as containerd names it": running["imageID"].partition("@")[2],
        "status of the TokenplaceRelay": relay["status"]["image"]["running"],
    }
    for place, digest in seen.items():
        assert digest == wanted, place
        show(f"{digest[:19]}…  {place}")


def test_ready(stage: Stage, show: Show) -> None:
    """3a. Ready by `/livez` and `/healthz`."""
    pod = stage.pod()
    (container,) = pod["spec"]["containers"]
    probes = {one: container[one]["httpGet"]["path"] for one in ("livenessProbe", "readinessProbe")}
    assert probes == {"livenessProbe": "/livez", "readinessProbe": "/healthz"}
    for one in (pod, stage.read("tpr")):
        conditions = {each["type"]: each["status"] for each in one["status"]["conditions"]}
        assert conditions["Ready"] == "True"
    for path in probes.values():
        code, text = ask(f"{address_of(pod)}{path}")
        assert code == 200
        show(f"{path}: {code} {text}")
    show("pod Ready, TokenplaceRelay Ready")


def test_rollout(stage: Stage, show: Show) -> None:
    """3b. A new image under load through the Ingress loses nothing.

    Clients and compute nodes work through Traefik over TLS while `helm upgrade` changes the
    digest. Readiness turns red, accepted requests are answered and read, and the next pod takes
    over. No accepted request is tried a second time. While no pod accepts requests, they are
    rejected.
    """
    rollout = asyncio.run(roll_out(stage))
    tally = rollout.tally
    assert rollout.health == (503, "draining")
    assert tally.lost == []
    assert tally.answered == len(tally.accepted)
    before = tally.accepted_between(0, rollout.red)
    during = tally.accepted_between(rollout.red, rollout.gone)
    after = tally.accepted_between(rollout.gone, time.monotonic())
    assert min(before, during, after) > 0
    show(f"the pod that goes: /healthz {rollout.health[0]} {rollout.health[1]}, and not Ready")
    show(f"accepted: {before} before that, {during} while it drained, {after} by the next pod")
    show(f"answered and read: {tally.answered}; lost: {len(tally.lost)}")
    for reason, times in sorted(tally.refused.items()):
        show(f"not accepted, {times} times: {reason}")


def test_name_and_certificate(stage: Stage, show: Show) -> None:
    """4. `https://relay.<domain>` through Traefik, with a certificate that verifies.

    The name resolves to the address of Traefik's Service, as DNS would do. A client that does not
    trust the test's authority refuses the certificate.
    """
    ingress = stage.read("ingress")["spec"]
    assert ingress["tls"][0]["hosts"] == [ingress["rules"][0]["host"]] == [HOST]
    certificate = handshake(stage, ssl.create_default_context(cafile=stage.authority.certificate))
    assert ("DNS", HOST) in certificate["subjectAltName"]
    issuer = dict(pair for part in certificate["issuer"] for pair in part)["commonName"]
    assert issuer == "tokenplace test authority"
    status, body = asyncio.run(visit(stage, f"https://{HOST}/healthz"))
    assert (status, body["status"]) == (200, "ok")
    show(f"https://{HOST}/healthz: {status} {body['status']}, verified, issued by: {issuer}")
    with pytest.raises(ssl.SSLCertVerificationError) as refusal:
        handshake(stage, ssl.create_default_context())
    show(f"with the world's authorities only: {refusal.value.verify_message}")


@pytest.fixture(scope="module")
def gpu_address(stage: Stage) -> Iterator[str]:
    with gpu_server(stage.cluster) as address:
        yield address


@pytest.mark.parametrize("mode", ["ExternalName", "Headless"])
def test_gpu(mode: str, stage: Stage, gpu_address: str, eventually: Eventually, show: Show) -> None:
    """5. The GPU server, by name and by address.

    The variables with its host and port are set only when it has a name outside the cluster.
    """
    target = {"host": GPU_HOST} if mode == "ExternalName" else {"addresses": [gpu_address]}
    stage.upgrade(gpuExternalName={"mode": mode, "port": GPU_PORT, **target})
    assert eventually(lambda: stage.in_pod(ASK_GPU)) == GPU_ANSWER
    environment = json.loads(stage.in_pod(ENVIRONMENT))
    named = [one for one in GPU_VARIABLES if one in environment]
    assert named == (list(GPU_VARIABLES) if mode == "ExternalName" else [])
    show(f"{mode}: the relay's container asks http://gpu-server:{GPU_PORT}/health: {GPU_ANSWER}")
    show(f"  of the host and port in its environment: {', '.join(named) or 'nothing'}")


def test_logs(stage: Stage, show: Show) -> None:
    """6a. Logs are JSON, one object a line."""
    name = stage.pod()["metadata"]["name"]
    lines = [json.loads(line) for line in stage.kubectl("logs", name).splitlines()]
    (startup,) = [one for one in lines if one["message"] == "relay.startup"]
    assert {"timestamp", "level", "logger"} <= startup.keys()
    show(json.dumps(startup))


def test_metrics(stage: Stage, eventually: Eventually, show: Show) -> None:
    """6b. Prometheus scrapes `/metrics` because of the ServiceMonitor.

    prometheus-operator writes Prometheus' configuration from it; no other configuration
    names the relay.
    """

    def scraped() -> Object:
        active = stage.ask_prometheus("targets?state=active")["activeTargets"]
        found = [one for one in active if one["labels"].get("job") == NAME]
        assert [one["health"] for one in found] == ["up"], found
        return dict(found[0])

    target = eventually(scraped, seconds=110)
    assert target["scrapePool"] == f"serviceMonitor/{NAME}/{NAME}/0"
    pod = stage.pod()["metadata"]["name"]
    assert target["labels"]["pod"] == pod
    series = f'tokenplace_instrumentation_up{{namespace="{NAME}",job="{NAME}"}}'
    # The series of the pod before this one lives on until Prometheus has marked it stale.
    of_pod = {"query": f'{series[:-1]},pod="{pod}"}}'}
    asked = f"query?{urllib.parse.urlencode(of_pod)}"
    (found,) = eventually(lambda: stage.ask_prometheus(asked)["result"])
    assert found["value"][1] == "1"
    show(f"target of {target['scrapePool']}: {target['health']}")
    show(f"{series}: {found['value'][1]}")


def test_alert(stage: Stage, eventually: Eventually, show: Show) -> None:
    """6c. An alert fires when the relay goes away.

    The test removes the relay by a digest that no registry has. The shipped alert waits for minutes
    and is seen pending; the same rule with seconds instead of minutes fires, and resolves when the
    digest is right again. `tests/rules/test_relay_alerts.py` shows that the shipped alert fires
    after its minutes.
    """
    stage.kubectl("apply", "--filename=-", given=json.dumps(hurried(stage.read("prometheusrule"))))

    def states() -> dict[str, str]:
        groups = stage.ask_prometheus("rules?type=alert")["groups"]
        down = [(one["name"], rule) for one in groups for rule in one["rules"]]
        return {
            "hurried" if group == HURRIED else "shipped": rule["state"]
            for group, rule in down
            if rule["name"] == ALERT
        }

    def become(hurried: str, shipped: str) -> None:
        wanted = {"hurried": hurried, "shipped": shipped}
        eventually(lambda: states() == wanted, seconds=110)
        show(f"{ALERT}, as shipped: {shipped}; with seconds for minutes: {hurried}")

    become("inactive", "inactive")
    right = stage.values["image"]
    stage.change(image={**right, "digest": "sha256:" + "d" * 64})
    try:
        become("firing", "pending")
    finally:
        stage.upgrade(image=right)
    become("inactive", "inactive")


def test_container(stage: Stage, show: Show) -> None:
    """7a. Security, read in the running container."""
    status = stage.in_pod("print(open('/proc/1/status').read())")
    inside = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    seen = {
        "user and group": f"{inside['Uid'].split()} {inside['Gid'].split()}",
        "capabilities": ", ".join(sorted({inside[one] for one in ("CapPrm", "CapEff", "CapBnd")})),
        "no new privileges": inside["NoNewPrivs"].strip(),
        "seccomp": inside["Seccomp"].strip(),
        "writing to /opt": stage.in_pod(WRITE),
        "a token of the API server": stage.in_pod(TOKEN),
    }
    for what, found in seen.items():
        show(f"{what}: {found}")
    assert seen == {
        "user and group": f"{['1000'] * 4} {['1000'] * 4}",
        "capabilities": "0" * 16,
        "no new privileges": "1",
        "seccomp": "2",
        "writing to /opt": "[Errno 30] Read-only file system: '/opt/file'",
        "a token of the API server": "none",
    }


def test_policy(stage: Stage, gpu_address: str, show: Show) -> None:
    """7b. The NetworkPolicy denies all but what a relay needs.

    Cyclonus evaluates the live policies and pods.
    """
    policies = json.loads(stage.kubectl("get", "networkpolicies", "--output=json"))["items"]
    relay, port = peer(stage.pod()), 5010
    traefik = peer(the_pod(stage, "traefik", "traefik"))
    prometheus = peer(the_pod(stage, MONITORING, "prometheus"))
    operator = peer(the_pod(stage, NAME, "tokenplace-operator"))
    stranger = {**traefik, "podLabels": {"app": "stranger"}}
    dns = api_server = outside(stage.cluster.network.gateway)
    gpu, beside = (outside(stage.cluster.network.test_address(one)) for one in (50, 51))
    table = {
        "Traefik to the relay": (traefik, relay, port, "TCP", True),
        "Prometheus to the relay": (prometheus, relay, port, "TCP", True),
        "the operator to the relay, for the state of the GPU": (operator, relay, port, "TCP", True),
        "another pod to the relay": (stranger, relay, port, "TCP", False),
        "Traefik to another port of the relay": (traefik, relay, 22, "TCP", False),
        "the relay to DNS": (relay, dns, 53, "UDP", True),
        "the relay to its GPU server": (relay, gpu, GPU_PORT, "TCP", True),
        "the relay to another port there": (relay, gpu, 22, "TCP", False),
        "the relay to the address next to it": (relay, beside, GPU_PORT, "TCP", False),
        "the relay to the API server": (relay, api_server, 443, "TCP", False),
        "the relay to the world": (relay, outside("203.0.113.9"), 443, "TCP", False),
    }
    assert gpu["ip"] == gpu_address
    connections = {what: one[:4] for what, one in table.items()}
    for what, found in verdicts(policies, connections, {port: "http"}).items():
        assert found is table[what][4], what
        show(f"{'allowed' if found else 'denied '}  {what}")


@dataclass(frozen=True, slots=True)
class Rollout:
    """What was seen of a rollout under load; times are of the monotonic clock, in seconds."""

    tally: Tally
    red: float
    """When the pod that goes was first seen to be draining."""
    gone: float
    health: tuple[int, str]
    """Its `/healthz` at that moment."""


async def roll_out(stage: Stage) -> Rollout:
    """Change the digest while peers work, and let them go on for a while."""
    pod, image = await asyncio.to_thread(stage.pod), stage.values["image"]
    (other,) = set(stage.digests) - {image["digest"]}
    async with (
        session_at(stage.traefik, stage.authority.certificate) as session,
        peers_at_work(RelayConnection(session, f"https://{HOST}"), nodes=2, clients=4) as tally,
    ):
        await eventually(lambda: len(tally.accepted) >= ENOUGH)
        change = partial(stage.upgrade, image={**image, "digest": other})
        upgrade = asyncio.create_task(asyncio.to_thread(change))
        red, gone, health = await asyncio.to_thread(watch_it_go, stage, pod)
        await upgrade
        await eventually(lambda: tally.accepted_between(gone, time.monotonic()) >= ENOUGH)
    return Rollout(tally, red, gone, health)


def watch_it_go(stage: Stage, pod: Object) -> tuple[float, float, tuple[int, str]]:
    """See a pod turn red, be called not Ready while it still serves, and go."""
    while (health := ask(f"{address_of(pod)}/healthz")) == (200, "ok"):
        time.sleep(0.05)
    red, name = time.monotonic(), pod["metadata"]["name"]
    assert ask(f"{address_of(pod)}/livez") == (200, "alive")
    stage.kubectl("wait", "--for=condition=Ready=false", f"pod/{name}", "--timeout=30s")
    stage.kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=60s")
    return red, time.monotonic(), health


def address_of(pod: Object) -> str:
    return f"http://{pod['status']['podIP']}:5010"


def ask(url: str) -> tuple[int, str]:
    """The HTTP status of a health path, and the status in its body."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)["status"]


async def visit(stage: Stage, url: str) -> tuple[int, Object]:
    """Ask for a URL through Traefik."""
    async with (
        session_at(stage.traefik, stage.authority.certificate) as session,
        session.get(url) as answer,
    ):
        return answer.status, await answer.json()


def handshake(stage: Stage, trusted: ssl.SSLContext) -> Any:  # noqa: ANN401 (as ssl has it)
    """The certificate that Traefik shows for the relay's name; raises when it does not verify."""
    with (
        socket.create_connection((stage.traefik, 443), timeout=10) as plain,
        trusted.wrap_socket(plain, server_hostname=HOST) as secured,
    ):
        return secured.getpeercert()


def hurried(rule: Object) -> Object:
    """One alert of a PrometheusRule as a rule of its own that waits for seconds."""
    rules = rule["spec"]["groups"][0]["rules"]
    (alert,) = [one for one in rules if one["alert"] == ALERT]
    group = {"name": HURRIED, "rules": [{**alert, "for": "4s"}]}
    labels = {"release": rule["metadata"]["labels"]["release"]}
    metadata = {"name": HURRIED, "labels": labels}
    return {**rule, "metadata": metadata, "spec": {"groups": [group]}}


def the_pod(stage: Stage, namespace: str, name: str) -> Object:
    """The one pod of another program."""
    query = (f"--namespace={namespace}", "get", "pods", f"-lapp.kubernetes.io/name={name}")
    (found,) = json.loads(stage.kubectl(*query, "--output=json"))["items"]
    return dict(found)


def peer(pod: Object) -> Object:
    """A live pod as the end of a connection."""
    namespace = pod["metadata"]["namespace"]
    return {
        "ip": pod["status"]["podIP"],
        "namespace": namespace,
        "namespaceLabels": {"kubernetes.io/metadata.name": namespace},
        "podLabels": pod["metadata"]["labels"],
    }
