"""Label selectors that limit lists and watches to objects of the operator."""

from tokenplace_operator.api.kinds import ENDPOINT_SLICE, RELAY, Kind
from tokenplace_operator.api.names import OPERATOR

MANAGED_BY_SELECTOR = f"app.kubernetes.io/managed-by={OPERATOR}"
"""Label selector that every child resource matches."""

_SELECTORS = {
    # Relays are written by users, who set no label of the operator.
    RELAY: "",
    # The EndpointSlice controller copies a Service's labels to its own slices, which change with
    # every pod.
    ENDPOINT_SLICE: f"{MANAGED_BY_SELECTOR},endpointslice.kubernetes.io/managed-by={OPERATOR}",
}


def selector_of(kind: Kind) -> str:
    """Return the label selector for the relevant objects of a kind; empty selects all."""
    return _SELECTORS.get(kind, MANAGED_BY_SELECTOR)
