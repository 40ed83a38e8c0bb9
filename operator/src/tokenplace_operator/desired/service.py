"""The Service in front of the relay pods."""

from __future__ import annotations

from tokenplace_operator.api import Relay
from tokenplace_operator.desired.metadata import Object, child

THROUGH_THE_SERVICE = {"traefik.ingress.kubernetes.io/service.nativelb": "true"}
"""Traefik by itself sends nothing to a pod that is about to go, even when there is no other."""


def service(relay: Relay) -> list[Object]:
    """Always wanted; its port is named http, as is the container's."""
    port = {"name": "http", "port": relay.service.port, "targetPort": "http", "protocol": "TCP"}
    spec: Object = {"type": relay.service.type, "selector": relay.selector, "ports": [port]}
    if not relay.settings.require_upstream_health:
        # A pod that drains is red, and yet the only one that knows what it accepted.
        spec["publishNotReadyAddresses"] = True
    annotations = {**THROUGH_THE_SERVICE, **relay.service.annotations}
    return [child(relay, "v1", "Service", relay.name, annotations=annotations, spec=spec)]
