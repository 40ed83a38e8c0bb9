"""RouteReady: whether every Gateway of spec.gateway accepts the HTTPRoute."""

from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import HTTP_ROUTE, Object
from tokenplace_operator.api.spec.reader import Json
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.children import is_not_applied, missing_crds
from tokenplace_operator.status.observed import ConditionState, Observed


def route_ready(relay: Relay, observed: Observed) -> ConditionState | None:
    """Return the condition RouteReady; None when the relay has no HTTPRoute."""
    if not relay.route_hosts:
        return None
    if HTTP_ROUTE not in observed.facts.apis:
        text = missing_crds("the Gateway API", HTTP_ROUTE)
        return ConditionState(False, Reason.GATEWAY_CRDS_NOT_FOUND, text)
    if is_not_applied(observed.plan, HTTP_ROUTE):
        text = "The HTTPRoute is not applied. See condition Ready."
        return ConditionState(False, Reason.ROUTE_NOT_APPLIED, text)
    return _state(relay, observed.route or {})


def _state(relay: Relay, route: Object) -> ConditionState:
    pending = []
    for parent in relay.gateway.parents:
        conditions = _parent_conditions(relay, parent, route)
        # Any False condition: a route can be Accepted while ResolvedRefs is False, and then serves
        # nothing.
        rejection = next((item for item in conditions if item.get("status") == "False"), None)
        if rejection is not None:
            text = (
                f"Gateway {parent['name']} rejects the HTTPRoute. Check that its listeners allow "
                f"this namespace and these hosts: {rejection.get('message', '')}"
            )
            return ConditionState(False, Reason.ROUTE_REJECTED, text)
        states = {(item.get("type"), item.get("status")) for item in conditions}
        if ("Accepted", "True") not in states:
            pending.append(str(parent["name"]))
    if pending:
        text = (
            "Not every Gateway has accepted the HTTPRoute. "
            f"Check that these Gateways exist and are programmed: {', '.join(pending)}."
        )
        return ConditionState(False, Reason.ROUTE_PENDING, text)
    return ConditionState(True, Reason.ROUTE_ACCEPTED, "Every Gateway accepts the HTTPRoute.")


def _parent_conditions(relay: Relay, parent: Json, route: Object) -> list[Object]:
    """Return the conditions that Gateway controllers set for this parentRef of the spec."""
    key = _parent_key(relay, parent)
    return [
        condition
        for status in route.get("status", {}).get("parents", [])
        if _parent_key(relay, status.get("parentRef", {})) == key
        for condition in status.get("conditions", [])
    ]


def _parent_key(relay: Relay, reference: Json) -> tuple[object, ...]:
    """Return the fields of a parentRef, with the defaults of the Gateway API filled in."""
    defaults = {"group": HTTP_ROUTE.group, "kind": "Gateway", "namespace": relay.namespace}
    # The controllers may fill in defaults that the spec leaves out, so only full references compare
    # equal.
    full = {**defaults, **{name: value for name, value in reference.items() if value is not None}}
    names = ("group", "kind", "namespace", "name", "sectionName", "port")
    return tuple(full.get(name) for name in names)
