"""The condition UpstreamReachable follows a GPU server that starts and one that stops."""

import json
from collections.abc import Callable, Iterator

import pytest
import yaml

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.gpu_server import answering

STARTS, STOPS = "upstream-starts", "upstream-stops"
"""The relay whose GPU server starts, and the one whose GPU server stops."""
PORT = 5015
FOLLOWS_SECONDS = 150
"""The operator asks each relay every 60 s; both relays are watched during one such wait."""
PROBE_PAUSE = {"name": "RELAY_UPSTREAM_PROBE_SECONDS", "value": "1"}

UNREACHABLE = ("False", "UpstreamUnreachable", "refuses connections")

Kubectl = Callable[..., str]


@pytest.fixture
def addresses(
    cluster: Cluster, operator: str, relay_image: str, kubectl: Kubectl, eventually: Eventually
) -> Iterator[dict[str, str]]:
    """Two relays; returns the address at which each expects its GPU server."""
    assert operator
    repository, _, digest = relay_image.partition("@")
    addresses = {STARTS: cluster.add_test_address(51), STOPS: cluster.add_test_address(52)}
    for name, address in addresses.items():
        relay = {
            "apiVersion": "token.place/v1alpha1",
            "kind": "TokenplaceRelay",
            "metadata": {"name": name},
            "spec": {
                "image": {"repository": repository, "digest": digest},
                "gpu": {
                    "mode": "Headless",
                    "addresses": [address],
                    "port": PORT,
                    "serviceName": f"gpu-{name}",
                },
                "podTemplate": {"env": [PROBE_PAUSE]},
            },
        }
        kubectl("apply", "--filename=-", given=relay)
    yield addresses
    kubectl("delete", "tpr", *addresses)
    selector = f"-lapp.kubernetes.io/instance in ({STARTS},{STOPS})"
    eventually(lambda: not kubectl("get", "pods", selector, "-oname"))


def test_the_condition_follows_the_gpu_server(
    addresses: dict[str, str], kubectl: Kubectl, eventually: Eventually
) -> None:
    def has_condition(name: str, status: str, reason: str, text: str) -> bool:
        relay = json.loads(kubectl("get", "tpr", name, "--output=json"))
        listed = relay.get("status", {}).get("conditions", [])
        conditions = {condition["type"]: condition for condition in listed}
        upstream = conditions.get("UpstreamReachable", {})
        state = (upstream.get("status"), upstream.get("reason"))
        assert state == (status, reason), yaml.safe_dump(upstream)
        assert text in upstream["message"]
        # A relay without its GPU server still serves the compute nodes that poll it.
        return bool(conditions["Ready"]["status"] == "True")

    def follows(name: str, *wanted: str) -> None:
        eventually(lambda: has_condition(name, *wanted), seconds=FOLLOWS_SECONDS)

    def responding(name: str) -> tuple[str, str, str]:
        return ("True", "UpstreamResponding", f"The relay reaches gpu-{name}:{PORT}")

    with answering(addresses[STOPS], PORT):
        follows(STARTS, *UNREACHABLE)
        follows(STOPS, *responding(STOPS))
    with answering(addresses[STARTS], PORT):
        follows(STARTS, *responding(STARTS))
        follows(STOPS, *UNREACHABLE)
