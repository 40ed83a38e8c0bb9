"""Paused: whether spec.paused keeps the operator from writing child resources."""

from tokenplace_operator.api.conditions import Reason, counted
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.observed import ConditionState, Observed


def paused(relay: Relay, observed: Observed) -> ConditionState:
    """Return the condition Paused."""
    if not relay.paused:
        return ConditionState(False, Reason.NOT_PAUSED, "Child resources are reconciled.")
    changes = counted(len(observed.plan.apply) + len(observed.plan.prune), "pending change")
    text = f"Reconciliation is paused with {changes}. Set spec.paused to false to resume."
    return ConditionState(True, Reason.PAUSED, text)
