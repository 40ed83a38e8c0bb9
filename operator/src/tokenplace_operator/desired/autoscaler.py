"""How many pods there are, and how many of them a node may lose at a time."""

from __future__ import annotations

from tokenplace_operator.api import Autoscaling, BudgetMode, Relay
from tokenplace_operator.desired.metadata import Object, child


def autoscaler(relay: Relay) -> list[Object]:
    """Wanted when the user asks for it and the relay is not stopped."""
    if relay.autoscaling is None or not relay.is_autoscaled:
        return []
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": relay.name},
        "minReplicas": relay.autoscaling.min_replicas,
        "maxReplicas": relay.autoscaling.max_replicas,
        "metrics": _metrics(relay.autoscaling),
    }
    return [child(relay, "autoscaling/v2", "HorizontalPodAutoscaler", relay.name, spec=spec)]


def disruption_budget(relay: Relay) -> list[Object]:
    """Wanted from two pods on: over a single one it would either block a drain or say nothing.

    One pod at a time may always go, so no node is ever undrainable; and AlwaysAllow lets pods go
    that do not serve anyway. A minimum could ask for more pods than an autoscaler leaves.
    """
    if relay.budget is BudgetMode.NONE or _fewest(relay) < 2:
        return []
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": relay.selector},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return [child(relay, "policy/v1", "PodDisruptionBudget", relay.name, spec=spec)]


def _fewest(relay: Relay) -> int:
    if relay.autoscaling is not None and relay.is_autoscaled:
        return relay.autoscaling.min_replicas
    return relay.replicas


def _metrics(autoscaling: Autoscaling) -> list[Object]:
    percents = {"cpu": autoscaling.cpu, "memory": autoscaling.memory}
    return [
        {
            "type": "Resource",
            "resource": {
                "name": name,
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        }
        for name, percent in percents.items()
        if percent
    ]
