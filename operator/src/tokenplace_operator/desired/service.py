"""The Service in front of the relay pods."""

from __future__ import annotations

from tokenplace_operator.api import Relay
from tokenplace_operator.desired.metadata import Object, child


def service(relay: Relay) -> list[Object]:
    """Always wanted; its port is named http, as is the container's."""
    port = {"name": "http", "port": relay.service.port, "targetPort": "http", "protocol": "TCP"}
    spec = {"type": relay.service.type, "selector": relay.selector, "ports": [port]}
    annotations = relay.service.annotations
    return [child(relay, "v1", "Service", relay.name, annotations=annotations, spec=spec)]
