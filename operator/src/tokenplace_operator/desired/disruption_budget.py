"""The PodDisruptionBudget of a relay."""

from __future__ import annotations

from tokenplace_operator.api.kinds import DISRUPTION_BUDGET, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.api.spec.scaling import BudgetMode
from tokenplace_operator.desired.child import child


def disruption_budget(relay: Relay) -> list[Object]:
    """Desired from two replicas on; over one pod, a budget blocks node drains or has no effect.

    maxUnavailable 1 keeps every node drainable, also at the autoscaler's minimum.
    """
    if relay.budget is BudgetMode.NONE or _min_replicas(relay) < 2:
        return []
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": relay.selector},
        # Otherwise a pod that is not ready could never be evicted, and a broken relay would block
        # node drains.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return [child(relay, DISRUPTION_BUDGET, spec=spec)]


def _min_replicas(relay: Relay) -> int:
    # The autoscaler owns the number of replicas, so spec.replicas does not describe it.
    if relay.autoscaling is not None and relay.is_autoscaled:
        return relay.autoscaling.min_replicas
    return relay.replicas
