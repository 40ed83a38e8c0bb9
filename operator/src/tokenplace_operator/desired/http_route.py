"""The way in through a Gateway of the cluster, instead of an Ingress or beside it."""

from __future__ import annotations

from tokenplace_operator.api import Json, Relay
from tokenplace_operator.api.kinds import HTTP_ROUTE
from tokenplace_operator.desired.metadata import Object, child
from tokenplace_operator.desired.raw import compact
from tokenplace_operator.observe.facts import Facts


def http_route(relay: Relay, facts: Facts) -> list[Object]:
    """Wanted once the user names a Gateway, where the cluster has the Gateway API.

    What the schema would fill in is written out, so that nothing looks like drift.
    """
    if not relay.route_hosts or HTTP_ROUTE not in facts.apis:
        return []
    backend = {
        "group": "",
        "kind": "Service",
        "name": relay.name,
        "port": relay.service.port,
        "weight": 1,
    }
    everything = {"path": {"type": "PathPrefix", "value": "/"}}
    spec = {
        "parentRefs": [_parent(parent) for parent in relay.gateway.parents],
        "hostnames": list(relay.route_hosts),
        "rules": [{"matches": [everything], "backendRefs": [backend]}],
    }
    return [child(relay, HTTP_ROUTE.api_version, HTTP_ROUTE.kind, relay.name, spec=spec)]


def _parent(parent: Json) -> Object:
    return {"group": "gateway.networking.k8s.io", "kind": "Gateway", **compact(parent)}
