"""A GPU server that comes and goes: the condition follows the relay's own probe."""

import json
from collections.abc import Callable, Iterator

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.gpu_server import answering

NAME = "upstream"
PORT = 5015
FOLLOWS_SECONDS = 150
"""The relay probes each 10 s, and the operator asks it each 60 s."""

Kubectl = Callable[..., str]


@pytest.fixture
def address(
    cluster: Cluster, operator: str, relay_image: str, kubectl: Kubectl, eventually: Eventually
) -> Iterator[str]:
    """Where the GPU server of a relay is to be, which is not there yet."""
    assert operator
    address = cluster.add_test_address(51)
    repository, _, digest = relay_image.partition("@")
    relay = {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {"name": NAME},
        "spec": {
            "image": {"repository": repository, "digest": digest},
            "gpu": {
                "mode": "Headless",
                "addresses": [address],
                "port": PORT,
                "serviceName": "gpu-upstream",
            },
        },
    }
    kubectl("apply", "--filename=-", given=relay)
    yield address
    kubectl("delete", "tpr", NAME)
    eventually(lambda: not kubectl("get", "pods", f"-lapp.kubernetes.io/instance={NAME}", "-oname"))


def test_the_condition_follows_the_gpu_server(
    address: str, kubectl: Kubectl, eventually: Eventually
) -> None:
    def reads(status: str, reason: str, text: str) -> bool:
        relay = json.loads(kubectl("get", "tpr", NAME, "--output=json"))
        found = {one["type"]: one for one in relay.get("status", {}).get("conditions", [])}
        told = found.get("UpstreamReachable", {})
        assert (told.get("status"), told.get("reason")) == (status, reason), yaml.safe_dump(told)
        assert text in told["message"]
        # A relay without its GPU server still serves those that poll it.
        return bool(found["Ready"]["status"] == "True")

    def follows(*wanted: str) -> None:
        eventually(lambda: reads(*wanted), seconds=FOLLOWS_SECONDS)

    follows("False", "UpstreamUnreachable", "refuses connections")
    with answering(address, PORT):
        follows("True", "UpstreamResponding", "The relay reaches gpu-upstream:5015")
    follows("False", "UpstreamUnreachable", "refuses connections")
