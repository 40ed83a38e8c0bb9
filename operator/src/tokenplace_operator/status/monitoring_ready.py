"""MonitoringReady: whether everything that spec.monitoring enables is in place."""

from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import CONFIG_MAP, PROMETHEUS_RULE, SERVICE_MONITOR
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.children import is_not_applied, missing_crds
from tokenplace_operator.status.observed import ConditionState, Observed

_OPEN_METRICS = (
    " /metrics needs no token from clients inside the cluster; "
    "set monitoring.tokenSecretRef to require one."
)


def monitoring_ready(relay: Relay, observed: Observed) -> ConditionState | None:
    """Return the condition MonitoringReady; None when spec.monitoring enables nothing."""
    monitoring = relay.monitoring
    kinds = {
        SERVICE_MONITOR: monitoring.service_monitor.enabled,
        PROMETHEUS_RULE: monitoring.prometheus_rule.enabled,
    }
    if not (any(kinds.values()) or monitoring.dashboard.enabled or monitoring.is_scraped):
        return None
    missing = [
        kind for kind, enabled in kinds.items() if enabled and kind not in observed.facts.apis
    ]
    # Missing CRDs come first: without them the plan holds no such child, and all would seem
    # applied.
    if missing:
        text = missing_crds("prometheus-operator", *missing)
        return ConditionState(False, Reason.MONITORING_CRDS_NOT_FOUND, text)
    if is_not_applied(observed.plan, *kinds, CONFIG_MAP):
        text = "Not all resources of spec.monitoring are applied. See condition Ready."
        return ConditionState(False, Reason.MONITORING_NOT_APPLIED, text)
    note = _OPEN_METRICS if monitoring.is_scraped and monitoring.token is None else ""
    text = f"All resources of spec.monitoring are applied.{note}"
    return ConditionState(True, Reason.MONITORING_CONFIGURED, text)
