"""Available: whether at least one pod is available, of whatever version."""

from tokenplace_operator.api.conditions import Reason, counted
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.observed import ConditionState, Observed, count


def available(relay: Relay, observed: Observed) -> ConditionState:
    """Return the condition Available."""
    pods = count(observed.deployment, "availableReplicas")
    # Available pods come first: after a scale to 0 the last pod still serves until it ends.
    if pods > 0:
        verb = "is" if pods == 1 else "are"
        text = f"{counted(pods, 'pod')} {verb} available."
        return ConditionState(True, Reason.AVAILABLE, text)
    if relay.replicas == 0:
        text = "spec.replicas is 0: the relay is stopped."
        return ConditionState(False, Reason.SCALED_TO_ZERO, text)
    return ConditionState(False, Reason.NO_PODS_AVAILABLE, "No pod is available.")
