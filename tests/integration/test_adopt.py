"""`adopt` on objects of upstream's charts, without an operator."""

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.relays import DIGEST, REPOSITORY, Relays

pytestmark = pytest.mark.usefixtures("no_operator")

Object = dict[str, Any]
Plugin = Callable[..., subprocess.CompletedProcess[str]]


def manifest(**spec: object) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "token.place/v1alpha1",
            "kind": "TokenplaceRelay",
            "metadata": {"name": "relay"},
            "spec": {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}, **spec},
        }
    )


def test_adopt_prints_its_plan_and_changes_nothing(
    plugin: Plugin, relays: Relays, taken: Object, namespace: str
) -> None:
    shown = plugin("adopt", "-f-", "--dry-run", given=manifest())
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"relay in namespace {namespace}, from Helm release relay:\n")
    assert "hand Service relay over to the operator\n" in shown.stdout
    asked = plugin("adopt", "-f-", given=manifest())
    assert asked.returncode == 2
    assert asked.stderr == "error: standard input is not a terminal; add --yes or --dry-run\n"
    assert relays.read("relay", "service") == taken
    assert relays.all("tpr") == []


def test_adopt_stops_at_whatever_would_lose_requests(
    plugin: Plugin, relays: Relays, taken: Object
) -> None:
    stopped = plugin("adopt", "-f-", "--yes", "-ojson", given=manifest(service={"port": 81}))
    assert stopped.returncode == 1
    found = json.loads(stopped.stdout)
    assert found["problems"] == ["spec.service.port: Service relay serves port 80"]
    assert found["done"] == []
    relays.patch({"metadata": {"labels": {"helm.sh/chart": "redis-1.0.0"}}}, "relay", "service")
    unmanaged = plugin("adopt", "-f-", "--yes", given=manifest())
    assert unmanaged.returncode == 1
    assert "problem: Service relay is not of upstream's charts" in unmanaged.stdout
    assert relays.read("relay", "service")["spec"] == taken["spec"]
    assert relays.all("tpr") == []


@pytest.mark.parametrize("name", ["tokenplace", "tokenplace-relay"])
def test_adopt_without_an_operator_stops_before_the_switch_and_continues_from_there(
    *,
    name: str,
    plugin: Plugin,
    relays: Relays,
    taken: Object,
    kubelet: FakeKubelet,
    eventually: Eventually,
) -> None:
    """With the second name, the old pods have the same labels as the new ones."""
    assert kubelet
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "relay"}
    relays.patch({"spec": {"selector": {**labels, "app": None}}}, "relay", "service")
    relays.write(deployment({**taken["metadata"]["labels"], **labels}, labels))
    eventually(lambda: relays.read("relay", "deployment")["status"].get("availableReplicas"))
    (pod,) = relays.all("pod")
    for _ in range(2):
        done = plugin("adopt", "-f-", "--yes", "--timeout=5", given=manifest())
        assert done.returncode == 1, done.stdout
        assert "timed out after 5 s, waiting until the new pods are ready" in done.stderr
        (alive,) = relays.all("pod")
        assert alive["metadata"]["uid"] == pod["metadata"]["uid"]
        selector = relays.read("relay", "service")["spec"]["selector"]
        assert selector.items() <= alive["metadata"]["labels"].items()
        assert relays.all("deployment") == []
        assert relays.read()["spec"]["image"]["digest"] == DIGEST
    new = {"app.kubernetes.io/name": "tokenplace-relay", "app.kubernetes.io/instance": "relay"}
    assert not selector.items() <= new.items()
    assert not new.items() <= alive["metadata"]["labels"].items()
    assert relays.read("relay", "service")["metadata"]["uid"] == taken["metadata"]["uid"]


def deployment(ours: Object, labels: Object) -> Object:
    container = {"name": "relay", "image": f"{REPOSITORY}@{DIGEST}"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "relay", "labels": ours},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_adopt_has_nothing_to_do_without_a_release(plugin: Plugin, relays: Relays) -> None:
    done = plugin("adopt", "-f-", "--yes", given=manifest())
    assert done.returncode == 0, done.stderr
    assert "no object of upstream's charts uses its names" in done.stdout
    assert relays.all("tpr") == []
