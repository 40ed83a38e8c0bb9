"""Default deny in both directions, with holes for exactly the traffic of a relay.

Policies see packets after the Service translated them: they match the pod's port and addresses.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from tokenplace_operator.api import GpuMode, Peer, Relay
from tokenplace_operator.desired.metadata import Object, child
from tokenplace_operator.desired.raw import compact
from tokenplace_operator.facts import Facts

NODE_LOCAL_DNS = "169.254.20.10/32"
"""The fixed address of NodeLocal DNSCache, which has no pods of its own to select."""


def network_policy(relay: Relay, facts: Facts) -> list[Object]:
    """Wanted unless the user turns it off."""
    policy = relay.network_policy
    if not policy.enabled:
        return []
    spec = {
        "podSelector": {"matchLabels": relay.selector},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [_from_ingress_controller(relay), *compact(policy.extra_ingress)],
        "egress": [_to_dns(policy.dns), *_to_gpu(relay, facts), *compact(policy.extra_egress)],
    }
    return [child(relay, "networking.k8s.io/v1", "NetworkPolicy", relay.name, spec=spec)]


def gpu_blocks(relay: Relay, facts: Facts) -> tuple[str, ...]:
    """The GPU targets as CIDR blocks of one address each."""
    resolved = relay.gpu.mode is GpuMode.EXTERNAL_NAME
    addresses = facts.gpu_addresses if resolved else relay.gpu.addresses
    unique = {ip_address(address) for address in addresses}
    ordered = sorted(unique, key=lambda ip: (ip.version, ip.packed))
    return tuple(f"{ip}/{ip.max_prefixlen}" for ip in ordered)


def _from_ingress_controller(relay: Relay) -> Object:
    peer = _pods(relay.network_policy.ingress_controller)
    return {"from": [peer], "ports": [_port("TCP", relay.port)]}


def _to_dns(dns: Peer) -> Object:
    ports = [_port("UDP", 53), _port("TCP", 53)]
    return {"to": [_pods(dns), {"ipBlock": {"cidr": NODE_LOCAL_DNS}}], "ports": ports}


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
