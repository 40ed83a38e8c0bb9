"""The Service in front of the relay pods."""

from __future__ import annotations

from tokenplace_operator.api.kinds import SERVICE, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child

TRAEFIK_NATIVE_LB = {"traefik.ingress.kubernetes.io/service.nativelb": "true"}
"""Makes Traefik send to the Service, not to pods.

With its own list of pods, Traefik sends nothing to a terminating pod, even if it is the only one.
"""


def service(relay: Relay) -> list[Object]:
    """Always desired. The port is named http, like the container's port."""
    port = {"name": "http", "port": relay.service.port, "targetPort": "http", "protocol": "TCP"}
    spec: Object = {"type": relay.service.type, "selector": relay.selector, "ports": [port]}
    if not relay.settings.require_upstream_health:
        # A draining pod is not ready, but only it can answer for the requests it accepted.
        spec["publishNotReadyAddresses"] = True
    # User annotations come last: they may turn the Traefik option off.
    annotations = {**TRAEFIK_NATIVE_LB, **relay.service.annotations}
    return [child(relay, SERVICE, annotations=annotations, spec=spec)]
