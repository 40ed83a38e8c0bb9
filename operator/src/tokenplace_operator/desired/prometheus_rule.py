"""The PrometheusRule with the alerts on a relay."""

from __future__ import annotations

from tokenplace_operator.api.kinds import PROMETHEUS_RULE, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child, labels
from tokenplace_operator.monitoring.relay_alerts import groups
from tokenplace_operator.observe.facts import Facts


def prometheus_rule(relay: Relay, facts: Facts) -> list[Object]:
    """Desired when enabled and its CRD is installed; not at replicas 0, where it would fire."""
    rule = relay.monitoring.prometheus_rule
    if not rule.enabled or relay.replicas == 0 or PROMETHEUS_RULE not in facts.apis:
        return []
    # The relay's labels come last: a user label must not hide the object from the operator's list.
    extra_labels = {**rule.labels, **labels(relay)}
    spec = {"groups": groups(relay)}
    return [child(relay, PROMETHEUS_RULE, extra_labels=extra_labels, spec=spec)]
