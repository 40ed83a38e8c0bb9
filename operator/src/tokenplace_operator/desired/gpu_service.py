"""One stable name inside the namespace for GPU servers outside the cluster."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from tokenplace_operator.api import GpuMode, Relay
from tokenplace_operator.desired.metadata import Object, child

COMPONENT = {"app.kubernetes.io/component": "gpu"}
"""Tells these Services from the relay's own, which Prometheus scrapes."""


def gpu_service(relay: Relay) -> list[Object]:
    """A CNAME in mode ExternalName, a headless Service with its own slices in mode Headless."""
    match relay.gpu.mode:
        case GpuMode.EXTERNAL_NAME:
            return [_service(relay, type="ExternalName", externalName=relay.gpu.host)]
        case GpuMode.HEADLESS:
            return [_service(relay, type="ClusterIP", clusterIP="None"), *_slices(relay)]
        case GpuMode.NONE:
            return []


def _service(relay: Relay, **spec: str) -> Object:
    port = relay.gpu.port
    ports = [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]
    return child(
        relay,
        "v1",
        "Service",
        relay.gpu.service_name,
        extra_labels=COMPONENT,
        spec={**spec, "ports": ports},
    )


def _slices(relay: Relay) -> list[Object]:
    addresses = {ip_address(address) for address in relay.gpu.addresses}
    ipv4 = sorted(a for a in addresses if isinstance(a, IPv4Address))
    ipv6 = sorted(a for a in addresses if isinstance(a, IPv6Address))
    families = (("IPv4", [str(a) for a in ipv4]), ("IPv6", [str(a) for a in ipv6]))
    return [_slice(relay, family, members) for family, members in families if members]


def _slice(relay: Relay, family: str, addresses: list[str]) -> Object:
    return child(
        relay,
        "discovery.k8s.io/v1",
        "EndpointSlice",
        f"{relay.gpu.service_name}-{family.lower()}",
        extra_labels={
            **COMPONENT,
            "kubernetes.io/service-name": relay.gpu.service_name,
            "endpointslice.kubernetes.io/managed-by": "tokenplace-operator",
        },
        addressType=family,
        ports=[{"name": "http", "port": relay.gpu.port, "protocol": "TCP"}],
        endpoints=[{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
    )
