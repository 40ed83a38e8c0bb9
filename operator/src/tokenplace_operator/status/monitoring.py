"""Whether Prometheus, Grafana and Gateways have what the user wants them to have."""

from tokenplace_operator.api import Relay
from tokenplace_operator.conditions import Reason
from tokenplace_operator.kinds import HTTP_ROUTE, PROMETHEUS_RULE, SERVICE_MONITOR, Kind, Object
from tokenplace_operator.status.observed import Observed, Verdict

_OPEN = (
    " /metrics is open to whoever reaches the pods past the Ingress: "
    "set monitoring.tokenSecretRef to ask for a token."
)


def monitoring_ready(relay: Relay, seen: Observed) -> Verdict:
    """MonitoringReady."""
    wanted = relay.monitoring
    kinds = {
        SERVICE_MONITOR: wanted.service_monitor.enabled,
        PROMETHEUS_RULE: wanted.prometheus_rule.enabled,
    }
    if not (any(kinds.values()) or wanted.dashboard.enabled or wanted.is_scraped):
        return Verdict(False, Reason.MONITORING_OFF, "spec.monitoring asks for nothing.")
    absent = [
        kind for kind, is_wanted in kinds.items() if is_wanted and kind not in seen.facts.apis
    ]
    if absent:
        text = _absent("the prometheus-operator", *absent)
        return Verdict(False, Reason.MONITORING_API_MISSING, text)
    note = _OPEN if wanted.is_scraped and wanted.token is None else ""
    return Verdict(True, Reason.MONITORING_CURRENT, f"All of spec.monitoring is in place.{note}")


def route_ready(relay: Relay, seen: Observed) -> Verdict | None:
    """RouteReady, where the relay is to have an HTTPRoute: what its Gateways say about it."""
    if not relay.route_hosts:
        return None
    if HTTP_ROUTE not in seen.facts.apis:
        text = _absent("the Gateway API", HTTP_ROUTE)
        return Verdict(False, Reason.GATEWAY_API_MISSING, text)
    answers = _answers(seen.route)
    refusals = [one for one in answers if one.get("status") == "False"]
    if refusals:
        text = f"A Gateway refuses the route: {refusals[0].get('message', '')}"
        return Verdict(False, Reason.ROUTE_REFUSED, text)
    accepted = [one for one in answers if one.get("type") == "Accepted"]
    if len(accepted) < len(relay.gateway.parents):
        names = ", ".join(str(parent["name"]) for parent in relay.gateway.parents)
        text = f"Not all of the Gateways answered yet; check that these exist and work: {names}."
        return Verdict(False, Reason.ROUTE_PENDING, text)
    return Verdict(True, Reason.ROUTE_ACCEPTED, "The Gateways serve the route.")


def _answers(route: Object | None) -> list[Object]:
    parents = (route or {}).get("status", {}).get("parents", [])
    return [one for parent in parents for one in parent.get("conditions", [])]


def _absent(project: str, *kinds: Kind) -> str:
    names = " and ".join(kind.kind for kind in kinds)
    return (
        f"The cluster has no {names}: install the CRDs of {project}. "
        "That is noticed within a minute, and the relay serves meanwhile."
    )
