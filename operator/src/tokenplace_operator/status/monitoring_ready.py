"""Whether Prometheus, Grafana and Gateways have what the user wants them to have."""

from tokenplace_operator.api import Json, Relay
from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import (
    CONFIG_MAP,
    HTTP_ROUTE,
    PROMETHEUS_RULE,
    SERVICE_MONITOR,
    Kind,
    Object,
)
from tokenplace_operator.status.children import is_held_back
from tokenplace_operator.status.observed import Observed, Verdict

_OPEN = (
    " /metrics is open to whoever reaches the pods past the Ingress: "
    "set monitoring.tokenSecretRef to ask for a token."
)


def monitoring_ready(relay: Relay, seen: Observed) -> Verdict | None:
    """MonitoringReady; None when spec.monitoring enables nothing."""
    wanted = relay.monitoring
    kinds = {
        SERVICE_MONITOR: wanted.service_monitor.enabled,
        PROMETHEUS_RULE: wanted.prometheus_rule.enabled,
    }
    if not (any(kinds.values()) or wanted.dashboard.enabled or wanted.is_scraped):
        return None
    absent = [
        kind for kind, is_wanted in kinds.items() if is_wanted and kind not in seen.facts.apis
    ]
    if absent:
        text = _absent("the prometheus-operator", *absent)
        return Verdict(False, Reason.MONITORING_CRDS_NOT_FOUND, text)
    if is_held_back(seen.plan, *kinds, CONFIG_MAP):
        text = "Not all of spec.monitoring is as wanted; see Ready for why it is not written."
        return Verdict(False, Reason.MONITORING_NOT_APPLIED, text)
    note = _OPEN if wanted.is_scraped and wanted.token is None else ""
    return Verdict(True, Reason.MONITORING_CONFIGURED, f"All of spec.monitoring is in place.{note}")


def route_ready(relay: Relay, seen: Observed) -> Verdict | None:
    """RouteReady, where the relay is to have an HTTPRoute: what its Gateways say about it."""
    if not relay.route_hosts:
        return None
    if HTTP_ROUTE not in seen.facts.apis:
        text = _absent("the Gateway API", HTTP_ROUTE)
        return Verdict(False, Reason.GATEWAY_CRDS_NOT_FOUND, text)
    if is_held_back(seen.plan, HTTP_ROUTE):
        text = "The HTTPRoute is not as wanted; see Ready for why it is not written."
        return Verdict(False, Reason.ROUTE_NOT_APPLIED, text)
    return _answered(relay, seen.route or {})


def _answered(relay: Relay, route: Object) -> Verdict:
    silent = []
    for parent in relay.gateway.parents:
        answers = _answers(relay, parent, route)
        refusal = next((one for one in answers if one.get("status") == "False"), None)
        if refusal is not None:
            text = (
                f"Gateway {parent['name']} refuses the route; see whether its listeners allow this "
                f"namespace and these hosts. It says: {refusal.get('message', '')}"
            )
            return Verdict(False, Reason.ROUTE_REJECTED, text)
        if ("Accepted", "True") not in {(one.get("type"), one.get("status")) for one in answers}:
            silent.append(str(parent["name"]))
    if silent:
        names = ", ".join(silent)
        text = f"Not all of the Gateways answered yet; check that these exist and work: {names}."
        return Verdict(False, Reason.ROUTE_PENDING, text)
    return Verdict(True, Reason.ROUTE_ACCEPTED, "The Gateways serve the route.")


def _answers(relay: Relay, parent: Json, route: Object) -> list[Object]:
    """What the controllers of a Gateway say; whoever answered for a parent of before is gone."""
    wanted = _place(relay, parent)
    return [
        condition
        for one in route.get("status", {}).get("parents", [])
        if _place(relay, one.get("parentRef", {})) == wanted
        for condition in one.get("conditions", [])
    ]


def _place(relay: Relay, reference: Json) -> tuple[object, ...]:
    """Which parent a parentRef names, with the defaults of the Gateway API."""
    defaults = {"group": HTTP_ROUTE.group, "kind": "Gateway", "namespace": relay.namespace}
    full = {**defaults, **{name: value for name, value in reference.items() if value is not None}}
    names = ("group", "kind", "namespace", "name", "sectionName", "port")
    return tuple(full.get(name) for name in names)


def _absent(project: str, *kinds: Kind) -> str:
    names = " and ".join(kind.kind for kind in kinds)
    return (
        f"The cluster has no {names}: install the CRDs of {project}. "
        "That is noticed within a minute, and the relay serves meanwhile."
    )
