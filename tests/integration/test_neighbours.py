"""Two relays in one namespace, names as long as they may be, and a GPU host that moves."""

from typing import Any

import pytest

from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.control_plane.optional_apis import MONITORING, ROUTES, served
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.relays import Relays

Object = dict[str, Any]
LONGEST = "r" + "0" * 62
HOST = {"host": "gpu.example.com"}


def owner_of(child: Object) -> Object:
    """Its first owner; one of no kind when it has none."""
    owners: list[Object] = child["metadata"].get("ownerReferences", [])
    return owners[0] if owners else {"kind": "", "name": ""}


@pytest.mark.usefixtures("operator")
def test_two_relays_live_side_by_side(relays: Relays, eventually: Eventually) -> None:
    relays.apply("one", gpu={**HOST, "serviceName": "gpu-one"})
    relays.apply("two", gpu={**HOST, "serviceName": "gpu-two"})
    eventually(lambda: relays.when("one", Ready="True"), seconds=60)
    eventually(lambda: relays.when("two", Ready="True"), seconds=60)
    owners = {
        (child["kind"], child["metadata"]["name"]): owner_of(child)["name"]
        for kind in ("deployment", "service", "networkpolicy", "serviceaccount")
        for child in relays.all(kind)
        if owner_of(child)["kind"] == "TokenplaceRelay"
    }
    assert owners == {
        **{("Deployment", name): name for name in ("one", "two")},
        **{("Service", name): name for name in ("one", "two")},
        **{("Service", f"gpu-{name}"): name for name in ("one", "two")},
        **{("NetworkPolicy", name): name for name in ("one", "two")},
        **{("ServiceAccount", name): name for name in ("one", "two")},
    }
    # Deleting one leaves the other alone.
    relays.delete("one")
    eventually(lambda: {s["metadata"]["name"] for s in relays.all("service")} == {"two", "gpu-two"})
    assert relays.when("two", Ready="True")


@pytest.mark.usefixtures("operator")
def test_a_gpu_service_name_that_another_relay_has_is_reported_clearly(
    relays: Relays, eventually: Eventually
) -> None:
    relays.apply("one", gpu=HOST)
    eventually(lambda: relays.when("one", Ready="True"), seconds=60)
    relays.apply("two", gpu=HOST)
    eventually(lambda: relays.when("two", Ready="ResourceNameConflict", Stalled="True"), seconds=60)
    told = relays.conditions("two")["Ready"]["message"]
    assert "Service gpu-server belongs to TokenplaceRelay one" in told
    assert "choose another name" in told
    service = relays.read("gpu-server", "service")
    assert service["metadata"]["ownerReferences"][0]["name"] == "one"
    assert relays.when("one", Ready="True")
    relays.apply("two", gpu={**HOST, "serviceName": "gpu-two"})
    eventually(lambda: relays.when("two", Ready="True"), seconds=60)


@pytest.mark.usefixtures("operator")
def test_the_longest_names_work_for_every_child(
    control_plane: ControlPlane, relays: Relays, eventually: Eventually
) -> None:
    gpu = {"mode": "Headless", "addresses": ["192.0.2.1", "2001:db8::1"], "serviceName": "g" * 63}
    with served(control_plane, *MONITORING, *ROUTES):
        relays.apply(
            LONGEST,
            gpu=gpu,
            autoscaling={"maxReplicas": 1, "cpu": 60},
            ingress={"domain": "example.com"},
            gateway={"parentRefs": [{"name": "public"}]},
            monitoring={
                "serviceMonitor": {"enabled": True},
                "prometheusRule": {"enabled": True},
                "dashboard": {"enabled": True},
            },
        )
        eventually(
            lambda: relays.when(LONGEST, Ready="True", MonitoringReady="True", RouteReady="False"),
            seconds=60,
        )
        eventually(lambda: relays.when(LONGEST, RouteReady="RoutePending"), seconds=60)
        kinds = (
            "serviceaccount deployment service endpointslice ingress networkpolicy hpa "
            "httproute servicemonitor prometheusrule configmap"
        )
        made = {
            kind: [
                child["metadata"]["name"]
                for child in relays.all(kind)
                if owner_of(child)["kind"] == "TokenplaceRelay"
            ]
            for kind in kinds.split()
        }
    assert made["endpointslice"] == ["g" * 63 + "-ipv4", "g" * 63 + "-ipv6"]
    assert made["service"] == sorted(["g" * 63, LONGEST])
    assert made["configmap"] == [f"{LONGEST}-dashboard"]
    assert all(names for names in made.values()), made
    (pod,) = relays.all("pod")
    assert pod["metadata"]["labels"]["app.kubernetes.io/instance"] == LONGEST


@pytest.mark.usefixtures("operator")
def test_hosts_and_referenced_names_may_be_as_long_as_dns_allows(
    relays: Relays, eventually: Eventually
) -> None:
    """253 characters: a GPU host, the host of the Ingress, and the Secret of its certificate."""
    labels = ["a" * 63, "b" * 63, "c" * 63]
    host, secret = ".".join([*labels, "d" * 61]), ".".join([*labels, "e" * 61])
    assert len(host) == len(secret) == 253
    relays.apply(
        LONGEST,
        gpu={"host": host, "serviceName": "g" * 63},
        ingress={"hosts": [host], "tls": {"secretName": secret}},
    )
    eventually(
        lambda: relays.when(LONGEST, Ready="True", NetworkPolicyAccurate="GPUHostUnresolved")
    )
    assert relays.read("g" * 63, "service")["spec"]["externalName"] == host
    ingress = relays.read(LONGEST, "ingress")["spec"]
    assert ingress["tls"] == [{"hosts": [host], "secretName": secret}]
    assert ingress["rules"][0]["host"] == host
    assert relays.read(LONGEST)["status"]["host"] == host
