"""Names: the operator's own, and the name of every object that belongs to a relay."""

from tokenplace_operator.api.kinds import CONFIG_MAP, Kind

OPERATOR = "tokenplace-operator"
"""Field manager, Lease, Event component and value of the managed-by label."""

RELAY_APP = "tokenplace-relay"
"""Value of the label app.kubernetes.io/name on relay pods."""


def child(kind: Kind, relay: str) -> str:
    """Name of the child resource of this kind; the relay's own name for all but the dashboard.

    The GPU Service and its EndpointSlices have names of their own: see the functions below.
    """
    return f"{relay}-dashboard" if kind == CONFIG_MAP else relay


def endpoint_slice(gpu_service: str, family: str) -> str:
    """Name of the EndpointSlice of a GPU Service (spec.gpu.serviceName); family: IPv4 or IPv6."""
    # One slice for each family: an EndpointSlice has one addressType, which is immutable.
    return f"{gpu_service}-{family.lower()}"


def tls_secret(relay: str) -> str:
    """Name of the TLS Secret where spec.ingress.tls.secretName is not set."""
    return f"{relay}-tls"


def alert_group(relay: str) -> str:
    """Name of the group of alert rules of a relay."""
    return f"{relay}.{RELAY_APP}"
