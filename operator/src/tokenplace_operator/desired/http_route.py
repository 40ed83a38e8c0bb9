"""The HTTPRoute that attaches a relay to Gateways of the cluster."""

from __future__ import annotations

from tokenplace_operator.api import names
from tokenplace_operator.api.compact import compact
from tokenplace_operator.api.kinds import HTTP_ROUTE, SERVICE, Object
from tokenplace_operator.api.spec.reader import Json
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child
from tokenplace_operator.observe.facts import Facts


def http_route(relay: Relay, facts: Facts) -> list[Object]:
    """Desired when spec.gateway names a Gateway and the cluster serves the Gateway API."""
    if not relay.route_hosts or HTTP_ROUTE not in facts.apis:
        return []
    # The defaults of the schema are written out: drift detection would miss them otherwise.
    backend = {
        "group": "",
        "kind": "Service",
        "name": names.child(SERVICE, relay.name),
        "port": relay.service.port,
        "weight": 1,
    }
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    spec = {
        "parentRefs": [_parent(parent) for parent in relay.gateway.parents],
        "hostnames": list(relay.route_hosts),
        "rules": [{"matches": [match], "backendRefs": [backend]}],
    }
    return [child(relay, HTTP_ROUTE, spec=spec)]


def _parent(parent: Json) -> Object:
    # The spec comes last, so that it can name another group or kind than the defaults.
    return {"group": HTTP_ROUTE.group, "kind": "Gateway", **compact(parent)}
