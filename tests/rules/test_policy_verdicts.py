"""The connections that the NetworkPolicy allows and denies in every mode, computed by Cyclonus."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest

from tokenplace_cluster.programs import policy_verdicts
from tokenplace_cluster.programs.policy_verdicts import Connection, outside, pod
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.desired.network_policy import network_policy
from tokenplace_operator.observe.facts import Facts

Object = dict[str, Any]


RELAY = pod("team", "10.244.0.2", name="tokenplace-relay", instance="relay")
OTHER_RELAY = pod("team", name="tokenplace-relay", instance="other")
TRAEFIK = pod("kube-system", name="traefik")
TRAEFIK_ELSEWHERE = pod("traefik", name="traefik")
NGINX = pod("ingress-nginx", name="ingress-nginx")
PROMETHEUS = pod("monitoring", name="prometheus")
AGENT = pod("monitoring", name="vmagent")
OPERATOR = pod("tokenplace-system", name="tokenplace-operator")
STRANGER = pod("team", name="web")
KUBE_DNS = pod("kube-system", "10.244.0.3", **{"k8s-app": "kube-dns"})
NODE_LOCAL = outside("169.254.20.10")
DNS_SERVICE = outside("10.96.0.10")
DNS_SERVICE_6 = outside("fd00:10:96::a")
DNS_OF_THE_WORLD = outside("8.8.8.8")
GPU_4, GPU_4_NEXT = outside("192.0.2.7"), outside("192.0.2.8")
GPU_6, GPU_6_NEXT = outside("2001:db8::7"), outside("2001:db8::8")
METADATA = outside("169.254.169.254")
API_SERVER = outside("10.96.0.1")
WORLD = outside("203.0.113.9")


def to_relay(source: Object, port: int = 5010, protocol: str = "TCP") -> Connection:
    return (source, RELAY, port, protocol)


def from_relay(target: Object, port: int, protocol: str = "TCP") -> Connection:
    return (RELAY, target, port, protocol)


ALWAYS_ALLOWED = {
    "Traefik of k3s": to_relay(TRAEFIK),
    "Traefik in its own namespace": to_relay(TRAEFIK_ELSEWHERE),
    "DNS over UDP": from_relay(KUBE_DNS, 53, "UDP"),
    "DNS over TCP": from_relay(KUBE_DNS, 53),
    "the cache on the node": from_relay(NODE_LOCAL, 53, "UDP"),
    "the DNS Service, where a cache answers for it": from_relay(DNS_SERVICE, 53, "UDP"),
    "the DNS Service of IPv6": from_relay(DNS_SERVICE_6, 53, "UDP"),
}
ALWAYS_DENIED = {
    "a stranger of the namespace": to_relay(STRANGER),
    "another relay": to_relay(OTHER_RELAY),
    "the world": to_relay(WORLD),
    "Traefik on the port of the Service": to_relay(TRAEFIK, 80),
    "Traefik over UDP": to_relay(TRAEFIK, 5010, "UDP"),
    "DNS pods on another port": from_relay(KUBE_DNS, 9153),
    "the cache on another port": from_relay(NODE_LOCAL, 8080),
    "DNS of the world": from_relay(DNS_OF_THE_WORLD, 53, "UDP"),
    "the cloud's metadata": from_relay(METADATA, 80),
    "the API server": from_relay(API_SERVER, 443),
    "Traefik the other way": from_relay(TRAEFIK, 8000),
    "the world over TLS": from_relay(WORLD, 443),
}
GPU = {
    "the GPU": from_relay(GPU_4, 5015),
    "the GPU of IPv6": from_relay(GPU_6, 5015),
}
NOT_GPU = {
    "the address after the GPU's": from_relay(GPU_4_NEXT, 5015),
    "the IPv6 address after the GPU's": from_relay(GPU_6_NEXT, 5015),
    "another port of the GPU": from_relay(GPU_4, 22),
    "another port of the GPU of IPv6": from_relay(GPU_6, 22),
}
WATCHED = {"Prometheus": to_relay(PROMETHEUS)}
PROBED = {"the operator": to_relay(OPERATOR)}
SCRAPED = {"monitoring": {"serviceMonitor": {"enabled": True}}}
HOST = {"gpu": {"host": "gpu.example.com"}}
NODES = {"gpu": {"mode": "Headless", "addresses": ["192.0.2.7", "2001:db8::7"]}}


@dataclass(frozen=True, slots=True)
class Mode:
    """A spec, facts, and the connections that differ from the common ones."""

    spec: Object = field(default_factory=dict)
    resolved: tuple[str, ...] = ()
    allowed: dict[str, Connection] = field(default_factory=dict)
    denied: dict[str, Connection] = field(default_factory=dict)


MODES = {
    "no GPU": Mode(denied={**GPU, **NOT_GPU, **WATCHED, **PROBED}),
    "a GPU host that resolves": Mode(
        HOST, ("192.0.2.7", "2001:db8::7"), {**GPU, **PROBED}, {**NOT_GPU, **WATCHED}
    ),
    "a GPU host that never resolved": Mode(HOST, (), PROBED, {**GPU, **NOT_GPU, **WATCHED}),
    "a GPU host that moves": Mode(
        HOST,
        ("192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8::8"),
        {**GPU, "the next": NOT_GPU["the address after the GPU's"]},
        {"another port": NOT_GPU["another port of the GPU"]},
    ),
    "GPU addresses": Mode(NODES, (), {**GPU, **PROBED}, {**NOT_GPU, **WATCHED}),
    "scraped": Mode(SCRAPED, (), WATCHED, {**GPU, "another agent": to_relay(AGENT)}),
    "a metrics token without a ServiceMonitor": Mode(
        {"monitoring": {"tokenSecretRef": {"name": "metrics"}}}, (), WATCHED, GPU
    ),
    "alerts alone": Mode({"monitoring": {"prometheusRule": {"enabled": True}}}, denied=WATCHED),
    "scraped with a GPU host": Mode(
        {**HOST, **SCRAPED}, ("192.0.2.7", "2001:db8::7"), {**GPU, **WATCHED}, NOT_GPU
    ),
    "scraped by somebody else": Mode(
        {
            **SCRAPED,
            "networkPolicy": {
                "monitoring": {
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "vmagent"}}
                }
            },
        },
        (),
        {"the agent": to_relay(AGENT)},
        WATCHED,
    ),
}
NGINX_SPEC = {
    "networkPolicy": {
        "ingressController": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "ingress-nginx"}},
        }
    }
}
EXTRA_SPEC = {
    "networkPolicy": {
        "extraIngress": [
            {"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": "http"}]}
        ],
        "extraEgress": [
            {"to": [{"ipBlock": {"cidr": "2001:db8:1::/48"}}], "ports": [{"port": 443}]}
        ],
    }
}


def relay_of(spec: Object) -> Relay:
    metadata = {"name": "relay", "namespace": "team", "uid": "u", "generation": 1}
    full = {"image": {"tag": "v1"}, "gpu": {"mode": "None"}, **spec}
    return parse({"metadata": metadata, "spec": full})


def wrong(
    spec: Object,
    resolved: tuple[str, ...],
    allowed: dict[str, Connection],
    denied: dict[str, Connection],
) -> list[str]:
    """The connections that are not judged as the tables say."""
    facts = Facts(gpu_addresses=resolved, nameservers=("10.96.0.10", "fd00:10:96::a"))
    policies = network_policy(relay_of(spec), facts)
    return policy_verdicts.wrong(policies, allowed, denied, {5010: "http"})


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_each_mode_allows_exactly_its_traffic(mode: Mode) -> None:
    allowed = {**ALWAYS_ALLOWED, **mode.allowed}
    assert wrong(mode.spec, mode.resolved, allowed, {**ALWAYS_DENIED, **mode.denied}) == []


def test_another_ingress_controller_takes_the_place_of_traefik() -> None:
    traefik = {name: one for name, one in ALWAYS_ALLOWED.items() if "Traefik" in name}
    assert wrong(NGINX_SPEC, (), {"nginx": to_relay(NGINX)}, {**traefik, **ALWAYS_DENIED}) == []


def test_extra_rules_only_add_traffic() -> None:
    denied = {name: one for name, one in ALWAYS_DENIED.items() if name != "the world"}
    allowed = {
        **ALWAYS_ALLOWED,
        "the network that is let in": to_relay(WORLD),
        "the network that is let out to": from_relay(outside("2001:db8:1::1"), 443),
    }
    closed = {
        "another port of that network": from_relay(outside("2001:db8:1::1"), 80),
        "the network beside it": from_relay(outside("2001:db8:2::1"), 443),
    }
    assert wrong(EXTRA_SPEC, (), allowed, {**denied, **closed}) == []


def test_rules_name_the_port_of_the_pods() -> None:
    spec = {"port": 6010}
    assert wrong(spec, (), {"new": to_relay(TRAEFIK, 6010)}, {"old": to_relay(TRAEFIK)}) == []


def test_without_a_policy_nothing_is_denied() -> None:
    everything = {**ALWAYS_ALLOWED, **ALWAYS_DENIED, **GPU, **NOT_GPU, **WATCHED}
    spec = {"networkPolicy": {"enabled": False}}
    assert wrong(spec, (), everything, {}) == []


def test_other_pods_in_the_namespace_are_not_affected() -> None:
    pairs = itertools.permutations((STRANGER, OTHER_RELAY, TRAEFIK), 2)
    free = {
        f"{number}": (source, target, 8080, "TCP") for number, (source, target) in enumerate(pairs)
    }
    assert wrong({}, (), free, {}) == []
