"""The Service, and its EndpointSlices, for GPU servers outside the cluster."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import ENDPOINT_SLICE, SERVICE, Object
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child

GPU_COMPONENT = {"app.kubernetes.io/component": "gpu"}
"""Distinguishes the GPU Service from the relay's Service, which Prometheus scrapes."""


def gpu_service(relay: Relay) -> list[Object]:
    """ExternalName: one Service (a CNAME). Headless: a Service and its EndpointSlices."""
    match relay.gpu.mode:
        case GpuMode.EXTERNAL_NAME:
            # DNS answers with the CNAME alone; the NetworkPolicy therefore needs the resolved
            # addresses.
            return [_service(relay, type="ExternalName", externalName=relay.gpu.host)]
        case GpuMode.HEADLESS:
            # No selector: the EndpointSlices are written here, because the servers are not pods.
            return [_service(relay, type="ClusterIP", clusterIP="None"), *_slices(relay)]
        case GpuMode.NONE:
            return []


def _service(relay: Relay, **spec: str) -> Object:
    port = relay.gpu.port
    ports = [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]
    return child(
        relay,
        SERVICE,
        name=relay.gpu.service_name,
        extra_labels=GPU_COMPONENT,
        spec={**spec, "ports": ports},
    )


def _slices(relay: Relay) -> list[Object]:
    # A set, because the same IPv6 address can be written in several ways.
    addresses = {ip_address(address) for address in relay.gpu.addresses}
    ipv4 = sorted(a for a in addresses if isinstance(a, IPv4Address))
    ipv6 = sorted(a for a in addresses if isinstance(a, IPv6Address))
    # An EndpointSlice holds one address family. Sorting keeps the hash equal when the user reorders
    # the list.
    families = (("IPv4", [str(a) for a in ipv4]), ("IPv6", [str(a) for a in ipv6]))
    return [_slice(relay, family, members) for family, members in families if members]


def _slice(relay: Relay, family: str, addresses: list[str]) -> Object:
    return child(
        relay,
        ENDPOINT_SLICE,
        name=names.endpoint_slice(relay.gpu.service_name, family),
        extra_labels={
            **GPU_COMPONENT,
            "kubernetes.io/service-name": relay.gpu.service_name,
            # The operator's own watch selects slices by this label: see api/labels.py.
            "endpointslice.kubernetes.io/managed-by": names.OPERATOR,
        },
        addressType=family,
        ports=[{"name": "http", "port": relay.gpu.port, "protocol": "TCP"}],
        endpoints=[{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
    )
