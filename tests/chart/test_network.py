"""Connections that the NetworkPolicies of the chart allow its pods, as evaluated by Cyclonus."""

import pytest

from tokenplace_cluster.programs import policy_verdicts
from tokenplace_cluster.programs.helm import Object, Render
from tokenplace_cluster.programs.policy_verdicts import Connection, Peer, outside, pod

OPERATOR = pod("relays", name="tokenplace-operator", instance="tokenplace")
PROBE = pod("relays", name="tokenplace-helper", instance="tokenplace")
PROBE["podLabels"]["app.kubernetes.io/component"] = "probe"
RELAY = pod("relays", "10.244.0.2", name="tokenplace-relay", instance="tokenplace")
RELAY_ELSEWHERE = pod("team", "10.244.0.4", name="tokenplace-relay", instance="other")
PROMETHEUS = pod("monitoring", name="prometheus")
STRANGER = pod("relays", name="web")
KUBE_DNS = pod("kube-system", "10.244.0.3", **{"k8s-app": "kube-dns"})
NODE_LOCAL = outside("169.254.20.10")
DNS_SERVICE, DNS_SERVICE_6 = outside("10.43.0.10"), outside("fd00:43::a")
DNS_OF_THE_WORLD = outside("8.8.8.8")
METADATA = outside("169.254.169.254")
API_SERVER = outside("192.0.2.1")
WORLD = outside("203.0.113.9")
ADDRESSES = {"operator": {"networkPolicy": {"dns": {"addresses": ["10.43.0.10", "fd00:43::a"]}}}}
SCRAPED = {"operator": {"serviceMonitor": {"enabled": True}}}

Table = dict[str, Connection]


def dns(source: Peer, *servers: Peer) -> Table:
    return {
        f"{protocol} to {server['ip']}": (source, server, 53, protocol)
        for server in servers
        for protocol in ("UDP", "TCP")
    }


def never(source: Peer) -> Table:
    return {
        "DNS of the world": (source, DNS_OF_THE_WORLD, 53, "UDP"),
        "DNS pods on another port": (source, KUBE_DNS, 9153, "TCP"),
        "the cache on another port": (source, NODE_LOCAL, 8080, "TCP"),
        "the DNS Service on another port": (source, DNS_SERVICE, 9153, "TCP"),
        "the cloud's metadata": (source, METADATA, 80, "TCP"),
        "a stranger": (source, STRANGER, 8080, "TCP"),
        "the world": (source, WORLD, 80, "TCP"),
    }


def wrong(render: Render, values: Object, allowed: Table, denied: Table) -> list[str]:
    policies = [obj for obj in render(values) if obj["kind"] == "NetworkPolicy"]
    return policy_verdicts.wrong(policies, allowed, denied, {5010: "http", 8080: "http"})


def test_the_operator_reaches_dns_the_api_server_and_relays(render: Render) -> None:
    allowed = {
        **dns(OPERATOR, KUBE_DNS, NODE_LOCAL, DNS_SERVICE, DNS_SERVICE_6),
        "the API server": (OPERATOR, API_SERVER, 6443, "TCP"),
        "its Service": (OPERATOR, API_SERVER, 443, "TCP"),
        "a relay": (OPERATOR, RELAY_ELSEWHERE, 5010, "TCP"),
    }
    closed = {
        "a stranger to it": (STRANGER, OPERATOR, 8080, "TCP"),
        "Prometheus to it": (PROMETHEUS, OPERATOR, 8080, "TCP"),
    }
    assert wrong(render, ADDRESSES, allowed, {**never(OPERATOR), **closed}) == []


def test_the_probe_reaches_dns_and_its_relay(render: Render) -> None:
    allowed = {
        **dns(PROBE, KUBE_DNS, NODE_LOCAL, DNS_SERVICE, DNS_SERVICE_6),
        "its relay": (PROBE, RELAY, 5010, "TCP"),
    }
    closed = {
        "another relay": (PROBE, RELAY_ELSEWHERE, 5010, "TCP"),
        "the API server": (PROBE, API_SERVER, 443, "TCP"),
        "a stranger to it": (STRANGER, PROBE, 8080, "TCP"),
    }
    assert wrong(render, ADDRESSES, allowed, {**never(PROBE), **closed}) == []


@pytest.mark.parametrize("source", [OPERATOR, PROBE], ids=["operator", "probe"])
def test_without_a_cluster_no_dns_address_is_assumed(render: Render, source: Peer) -> None:
    unknown = dns(source, DNS_SERVICE, DNS_SERVICE_6)
    assert wrong(render, {}, dns(source, KUBE_DNS, NODE_LOCAL), {**never(source), **unknown}) == []


def test_prometheus_is_allowed_when_the_service_monitor_is_on(render: Render) -> None:
    allowed = {"Prometheus": (PROMETHEUS, OPERATOR, 8080, "TCP")}
    denied = {
        "Prometheus on another port": (PROMETHEUS, OPERATOR, 22, "TCP"),
        "a stranger": (STRANGER, OPERATOR, 8080, "TCP"),
    }
    assert wrong(render, SCRAPED, allowed, denied) == []


def test_other_dns_pods_replace_the_default_ones(render: Render) -> None:
    chosen = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "dns"}}}
    # Helm merges maps; null removes a default.
    chosen["podSelector"]["matchLabels"]["k8s-app"] = None  # type: ignore[assignment]
    mine = pod("infra", "10.244.0.7", app="dns")
    values = {"operator": {"networkPolicy": {"dns": chosen}}}
    assert (
        wrong(render, values, dns(PROBE, mine), {"the usual": (PROBE, KUBE_DNS, 53, "UDP")}) == []
    )
