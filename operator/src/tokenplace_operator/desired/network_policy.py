"""Default deny in both directions, with holes for exactly the traffic of a relay.

Policies see packets after the Service translated them: they match the pod's port and addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from tokenplace_operator.api import MANAGER, GpuMode, Peer, Relay
from tokenplace_operator.desired.metadata import Object, child
from tokenplace_operator.desired.raw import compact
from tokenplace_operator.observe.facts import Facts

NODE_LOCAL_DNS = "169.254.20.10"
"""The usual address of NodeLocal DNSCache."""

OPERATOR = Peer(pod_selector={"matchLabels": {"app.kubernetes.io/name": MANAGER}})
"""It asks the relay whether the GPU upstream answers."""


def network_policy(relay: Relay, facts: Facts) -> list[Object]:
    """Wanted unless the user turns it off."""
    policy = relay.network_policy
    if not policy.enabled:
        return []
    spec = {
        "podSelector": {"matchLabels": relay.selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [*_to_relay(relay), *compact(policy.extra_ingress)],
        "egress": [
            _to_dns(policy.dns, facts),
            *_to_gpu(relay, facts),
            *compact(policy.extra_egress),
        ],
    }
    return [child(relay, "networking.k8s.io/v1", "NetworkPolicy", relay.name, spec=spec)]


def gpu_blocks(relay: Relay, facts: Facts) -> tuple[str, ...]:
    """The GPU targets as CIDR blocks of one address each."""
    resolved = relay.gpu.mode is GpuMode.EXTERNAL_NAME
    addresses = facts.gpu_addresses if resolved else relay.gpu.addresses
    return blocks_of(addresses)


def blocks_of(addresses: Iterable[str]) -> tuple[str, ...]:
    """Blocks of one address each, IPv4 first, in numerical order."""
    unique = {ip_address(address) for address in addresses}
    ordered = sorted(unique, key=lambda ip: (ip.version, ip.packed))
    return tuple(f"{ip}/{ip.max_prefixlen}" for ip in ordered)


def _to_relay(relay: Relay) -> list[Object]:
    """From the ingress controller or gateway always, from others only when they are to ask."""
    policy = relay.network_policy
    sources = [policy.ingress_controller]
    if relay.gpu.mode is not GpuMode.NONE:
        sources.append(OPERATOR)
    if relay.monitoring.is_scraped:
        sources.append(policy.monitoring)
    return [{"from": [_pods(peer)], "ports": [_port("TCP", relay.port)]} for peer in sources]


def _to_dns(dns: Peer, facts: Facts) -> Object:
    """To the DNS pods, and to the addresses in the pods' resolv.conf.

    A node-local cache answers under those addresses itself: no pod is behind them that a
    selector could match, and with a cache the cluster's DNS address is not translated either.
    """
    blocks = (
        {"ipBlock": {"cidr": cidr}} for cidr in blocks_of((NODE_LOCAL_DNS, *facts.nameservers))
    )
    return {"to": [_pods(dns), *blocks], "ports": [_port("UDP", 53), _port("TCP", 53)]}


def _to_gpu(relay: Relay, facts: Facts) -> list[Object]:
    blocks = gpu_blocks(relay, facts)
    if not blocks:
        return []
    to = [{"ipBlock": {"cidr": block}} for block in blocks]
    return [{"to": to, "ports": [_port("TCP", relay.gpu.port)]}]


def _pods(peer: Peer) -> dict[str, Any]:
    return {
        "namespaceSelector": compact(peer.namespace_selector),
        "podSelector": compact(peer.pod_selector),
    }


def _port(protocol: str, port: int) -> Object:
    return {"protocol": protocol, "port": port}
