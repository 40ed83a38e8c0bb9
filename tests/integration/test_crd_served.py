"""The kind as the API server serves it: established, defaults, scale, columns, explanations."""

import json

import pytest

from tokenplace_cluster.control_plane.objects import Object
from tokenplace_cluster.fixtures import Eventually, Kubectl
from tokenplace_cluster.subjects.relays import DIGEST

pytestmark = pytest.mark.usefixtures("crd")


def relay(name: str) -> Object:
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": name},
        "spec": {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}},
    }


def test_defaults_are_seen_by_the_user(kubectl: Kubectl) -> None:
    create = ("create", "--dry-run=server", "--output=json", "--filename=-")
    done = kubectl(*create, given=json.dumps(relay("relay")))
    spec = json.loads(done.stdout)["spec"]
    assert spec["replicas"] == 1
    assert spec["port"] == 5010
    assert spec["image"]["repository"] == "ghcr.io/futuroptimist/tokenplace-relay"
    assert spec["gpu"] == {"mode": "None", "port": 5015, "serviceName": "gpu-server"}
    assert spec["drain"] == {"delaySeconds": 5, "timeoutSeconds": 20}
    assert spec["ingress"]["tls"] == {"enabled": True, "clusterIssuer": "letsencrypt-dns01"}
    assert spec["resources"]["limits"] == {"cpu": "500m", "memory": "256Mi"}
    traefik = {"matchLabels": {"app.kubernetes.io/name": "traefik"}}
    assert spec["networkPolicy"]["ingressController"] == {
        "namespaceSelector": {},
        "podSelector": traefik,
    }


def test_the_kind_is_established(kubectl: Kubectl) -> None:
    crd = kubectl("get", "crd", "tokenplacerelays.token.place", "--output=json")
    conditions = {c["type"]: c["status"] for c in json.loads(crd.stdout)["status"]["conditions"]}
    assert conditions == {"Established": "True", "NamesAccepted": "True"}


def test_it_can_be_scaled_within_the_rules(kubectl: Kubectl) -> None:
    created = kubectl("create", "--filename=-", given=json.dumps(relay("scaled")))
    assert created.returncode == 0, created.stderr
    assert kubectl("scale", "tokenplacerelay/scaled", "--replicas=0").returncode == 0
    refused = kubectl("scale", "tokenplacerelay/scaled", "--replicas=2")
    assert "replicas: must not be greater than 1 while state.mode is Memory" in refused.stderr
    status = {"status": {"replicas": 0, "selector": "app=x"}}
    patched = kubectl(
        "patch",
        "tpr/scaled",
        "--subresource=status",
        "--type=merge",
        f"--patch={json.dumps(status)}",
    )
    assert patched.returncode == 0, patched.stderr
    scale = json.loads(kubectl("get", "tpr/scaled", "--subresource=scale", "--output=json").stdout)
    assert scale["spec"].get("replicas", 0) == 0
    assert scale["status"]["selector"] == "app=x"


def test_columns(kubectl: Kubectl) -> None:
    created = kubectl("create", "--filename=-", given=json.dumps(relay("shown")))
    assert created.returncode == 0, created.stderr
    narrow = kubectl("get", "tpr", "shown").stdout.splitlines()[0].split()
    wide = kubectl("get", "tpr", "shown", "--output=wide").stdout.splitlines()[0].split()
    assert narrow == ["NAME", "READY", "REASON", "HOST", "IMAGE", "AGE"]
    assert set(wide) - set(narrow) == {"GPU", "REPLICAS"}


def test_every_field_is_explained(kubectl: Kubectl, eventually: Eventually) -> None:
    # The server publishes schemas a while after it serves a kind.
    text = "Seconds for which a terminating pod still accepts requests"
    eventually(lambda: text in kubectl("explain", "tpr.spec.drain.delaySeconds").stdout)
