"""The NetworkPolicy of a relay: default deny in both directions, with its own traffic allowed.

A policy sees packets after Service translation, so rules name pod ports and pod addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from tokenplace_operator.api import names
from tokenplace_operator.api.compact import compact
from tokenplace_operator.api.kinds import NETWORK_POLICY, Object
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.network_policy import Peer
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child
from tokenplace_operator.observe.facts import Facts

NODE_LOCAL_DNS = "169.254.20.10"
"""The default address of NodeLocal DNSCache."""

OPERATOR = Peer(pod_selector={"matchLabels": {"app.kubernetes.io/name": names.OPERATOR}})
"""The operator asks each relay for the health of its GPU upstream."""


def network_policy(relay: Relay, facts: Facts) -> list[Object]:
    """Desired unless spec.networkPolicy.enabled is false."""
    policy = relay.network_policy
    if not policy.enabled:
        return []
    spec = {
        "podSelector": {"matchLabels": relay.selector},
        # Both types are named, so that a direction without a rule denies everything.
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [*_to_relay(relay), *compact(policy.extra_ingress)],
        "egress": [
            _to_dns(policy.dns, facts),
            *_to_gpu(relay, facts),
            *compact(policy.extra_egress),
        ],
    }
    return [child(relay, NETWORK_POLICY, spec=spec)]


def gpu_blocks(relay: Relay, facts: Facts) -> tuple[str, ...]:
    """Return the addresses of the GPU servers as CIDR blocks of one address each."""
    # The operator resolves gpu.host itself, because a NetworkPolicy has no rules for host names.
    is_resolved = relay.gpu.mode is GpuMode.EXTERNAL_NAME
    addresses = facts.gpu_addresses if is_resolved else relay.gpu.addresses
    return blocks_of(addresses)


def blocks_of(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return CIDR blocks of one address each: IPv4 first, in numerical order."""
    unique = {ip_address(address) for address in addresses}
    ordered = sorted(unique, key=lambda ip: (ip.version, ip.packed))
    return tuple(f"{ip}/{ip.max_prefixlen}" for ip in ordered)


def _to_relay(relay: Relay) -> list[Object]:
    """Allow the ingress controller always, the operator and Prometheus where they have a use."""
    policy = relay.network_policy
    sources = [policy.ingress_controller]
    if relay.gpu.mode is not GpuMode.NONE:
        sources.append(OPERATOR)
    if relay.monitoring.is_scraped:
        sources.append(policy.monitoring)
    return [{"from": [_pods(peer)], "ports": [_port("TCP", relay.port)]} for peer in sources]


def _to_dns(dns: Peer, facts: Facts) -> Object:
    """Allow the DNS pods and the nameservers of the pods' resolv.conf.

    A node-local cache answers on those addresses itself, so no pod selector matches it.
    """
    blocks = (
        {"ipBlock": {"cidr": cidr}} for cidr in blocks_of((NODE_LOCAL_DNS, *facts.nameservers))
    )
    # TCP as well: resolvers use it for responses that do not fit into a UDP packet.
    return {"to": [_pods(dns), *blocks], "ports": [_port("UDP", 53), _port("TCP", 53)]}


def _to_gpu(relay: Relay, facts: Facts) -> list[Object]:
    blocks = gpu_blocks(relay, facts)
    # An egress rule with an empty list of peers would allow every destination.
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
