"""The children that a relay should have, as pure functions of the relay and of observed facts."""

from __future__ import annotations

from tokenplace_operator.api import Relay
from tokenplace_operator.desired.deployment import deployment
from tokenplace_operator.desired.gateway import http_route
from tokenplace_operator.desired.gpu import gpu_service
from tokenplace_operator.desired.ingress import ingress
from tokenplace_operator.desired.metadata import Object, seal
from tokenplace_operator.desired.monitoring import (
    dashboard_config_map,
    prometheus_rule,
    service_monitor,
)
from tokenplace_operator.desired.network_policy import network_policy
from tokenplace_operator.desired.scaling import autoscaler, disruption_budget
from tokenplace_operator.desired.service import service
from tokenplace_operator.desired.service_account import service_account
from tokenplace_operator.observe.facts import Facts


def build(relay: Relay, facts: Facts) -> list[Object]:
    """All children in the order to apply them: what pods need comes before the pods."""
    children = [
        *service_account(relay),
        *network_policy(relay, facts),
        *gpu_service(relay),
        *service(relay),
        *deployment(relay, facts),
        *autoscaler(relay),
        *disruption_budget(relay),
        *ingress(relay),
        *http_route(relay, facts),
        *service_monitor(relay, facts),
        *prometheus_rule(relay, facts),
        *dashboard_config_map(relay),
    ]
    return [seal(obj) for obj in children]
