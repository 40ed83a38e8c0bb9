"""All child resources of a relay, in the order in which they are applied."""

from __future__ import annotations

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.autoscaler import autoscaler
from tokenplace_operator.desired.child import seal
from tokenplace_operator.desired.dashboard_config_map import dashboard_config_map
from tokenplace_operator.desired.deployment import deployment
from tokenplace_operator.desired.disruption_budget import disruption_budget
from tokenplace_operator.desired.gpu_service import gpu_service
from tokenplace_operator.desired.http_route import http_route
from tokenplace_operator.desired.ingress import ingress
from tokenplace_operator.desired.network_policy import network_policy
from tokenplace_operator.desired.prometheus_rule import prometheus_rule
from tokenplace_operator.desired.service import service
from tokenplace_operator.desired.service_account import service_account
from tokenplace_operator.desired.service_monitor import service_monitor
from tokenplace_operator.observe.facts import Facts


def build(relay: Relay, facts: Facts) -> list[Object]:
    """Return every desired child resource; what pods need comes before the Deployment.

    The result depends on the arguments alone, so equal inputs give equal objects and hashes.
    """
    # The NetworkPolicy comes before the Deployment, so that the first pod already starts under it.
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
    # Sealed last, so that the hash covers every field that a builder has set.
    return [seal(child) for child in children]
