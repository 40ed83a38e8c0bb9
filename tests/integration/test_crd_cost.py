"""The rules of the kind stay inside the API server's budget for CEL."""

import json
from typing import Any

import pytest
import yaml

from tokenplace_cluster.control_plane.control_plane import ControlPlane, KubectlError
from tokenplace_cluster.control_plane.crds import CRDS
from tokenplace_cluster.fixtures import Kubectl

pytestmark = pytest.mark.usefixtures("crd")

Object = dict[str, Any]


def test_a_relay_that_uses_every_list_to_its_end_is_taken(kubectl: Kubectl) -> None:
    """The server stops rules that take too long on one object; none does on the largest."""
    relay = {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": "largest"},
        "spec": largest(),
    }
    done = kubectl("create", "--dry-run=server", "--filename=-", given=json.dumps(relay))
    assert done.returncode == 0, done.stderr


def test_the_server_would_refuse_rules_over_lists_without_a_bound(
    control_plane: ControlPlane,
) -> None:
    """That it took the kind is thus the proof that its rules cost little enough."""
    crd = yaml.safe_load((CRDS / "tokenplacerelays.yaml").read_text())
    policy = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]["networkPolicy"]["properties"]
    egress = policy["extraEgress"]
    del egress["maxItems"]
    del egress["items"]["properties"]["to"]["maxItems"]
    with pytest.raises(KubectlError, match="estimated rule cost"):
        control_plane.kubectl(
            "apply",
            "--server-side",
            "--dry-run=server",
            "--filename=-",
            given=yaml.safe_dump(crd),
        )


def largest() -> Object:
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": excepted()}} for _ in range(16)]
    ports = [{"protocol": "TCP", "port": 1000 + number} for number in range(16)]
    volumes = [{"name": f"volume-{number}", "emptyDir": {}} for number in range(16)]
    return {
        "image": {"digest": f"sha256:{'a' * 64}"},
        "gpu": {"mode": "Headless", "addresses": [f"2001:db8::{n:x}" for n in range(1, 33)]},
        "ingress": {"hosts": [f"host-{number}.{'a' * 60}.example.com" for number in range(16)]},
        "networkPolicy": {
            "extraIngress": [{"from": blocks, "ports": ports}] * 16,
            "extraEgress": [{"to": blocks, "ports": ports}] * 16,
        },
        "podTemplate": {
            "env": [{"name": f"VARIABLE_{number}", "value": "a" * 100} for number in range(64)],
            "volumes": volumes,
            "volumeMounts": [
                {"name": one["name"], "mountPath": f"/mnt/{one['name']}"} for one in volumes
            ],
        },
    }


def excepted() -> list[str]:
    return [f"10.{number}.0.0/16" for number in range(8)]
