"""Ready, Reconciling and Stalled: the summary that `kubectl wait` and kstatus read.

The first check that fails gives Ready its reason and message. The order of the checks is the
order in which a person would look.
"""

from collections.abc import Iterator
from datetime import datetime

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import Condition, Reason, Type, counted, set_condition
from tokenplace_operator.status.observed import Check, Finding, Observed
from tokenplace_operator.status.pods import pod_trouble
from tokenplace_operator.status.rollback import rolled_back
from tokenplace_operator.status.rollout import in_progress, is_settled, overdue, pods_refused


def findings(relay: Relay, seen: Observed) -> Iterator[Finding]:
    """Everything that keeps the relay from being Ready, the most telling first."""
    for check in _CHECKS:
        found = check(relay, seen)
        if found is not None:
            yield found


def summary(
    finding: Finding | None,
    old: list[Condition],
    generation: int,
    now: datetime,
    *,
    scaled_to_zero: bool = False,
) -> list[Condition]:
    """The three conditions, which never contradict each other."""

    def one(kind: Type, status: bool, reason: Reason, message: str) -> Condition:
        return set_condition(old, kind, status, reason, message, generation=generation, now=now)

    if finding is None:
        reason = Reason.SCALED_TO_ZERO if scaled_to_zero else Reason.AVAILABLE
        message = "replicas is 0: the relay is stopped" if scaled_to_zero else "Relay is ready."
        return [
            one(Type.READY, True, reason, message),
            one(Type.RECONCILING, False, Reason.UP_TO_DATE, "All resources are up to date."),
            one(Type.STALLED, False, Reason.NO_ACTION_REQUIRED, "No action required."),
        ]
    ready = one(Type.READY, False, finding.reason, finding.message)
    if finding.must_act:
        message = "Reconciliation is waiting for the problem in condition Stalled to be fixed."
        return [
            ready,
            one(Type.RECONCILING, False, Reason.ACTION_REQUIRED, message),
            one(Type.STALLED, True, finding.reason, finding.message),
        ]
    return [
        ready,
        one(Type.RECONCILING, True, finding.reason, finding.message),
        one(Type.STALLED, False, Reason.NO_ACTION_REQUIRED, "No action required."),
    ]


def _name_taken(_relay: Relay, seen: Observed) -> Finding | None:
    if not seen.plan.blocked:
        return None
    taken = "; ".join(f"{one.kind} {one.name} belongs to {one.by}" for one in seen.plan.blocked)
    text = f"{taken}. Delete or rename it, or choose another name in the spec."
    return Finding(Reason.RESOURCE_NAME_CONFLICT, text, must_act=True)


def _refused(_relay: Relay, seen: Observed) -> Finding | None:
    if not seen.refusal:
        return None
    text = (
        f"The API server refused a child; lift the rule that it names or follow it: {seen.refusal}"
    )
    return Finding(Reason.APPLY_REJECTED, text, must_act=True)


def _contested(relay: Relay, seen: Observed) -> Finding | None:
    if relay.paused or not seen.reverts:
        return None
    told = "; ".join(f"{one.kind} {one.name}: {one.how}" for one in seen.reverts)
    text = (
        f"Somebody undoes what the operator writes. {told}. Stop that, or change the "
        "TokenplaceRelay; until then it is written less and less often."
    )
    return Finding(Reason.CONFLICTING_WRITES, text, must_act=True)


def _held_back(relay: Relay, seen: Observed) -> Finding | None:
    if not relay.paused or seen.plan.is_empty:
        return None
    changes = len(seen.plan.apply) + len(seen.plan.prune)
    many = counted(changes, "change")
    text = f"Paused with {many} not made; set spec.paused to false to go on."
    return Finding(Reason.PAUSED, text, must_act=True)


def _leaving(_relay: Relay, seen: Observed) -> Finding | None:
    if not seen.plan.waiting:
        return None
    names = ", ".join(f"{one['kind']} {one['metadata']['name']}" for one in seen.plan.waiting)
    text = (
        f"An earlier {names} is still being deleted; wait, and if that does not end, "
        "see kubectl describe for the finalizer that holds it."
    )
    return Finding(Reason.WAITING_FOR_DELETION, text)


def _missing(_relay: Relay, seen: Observed) -> Finding | None:
    if seen.deployment is not None:
        return None
    text = "The Deployment does not exist yet; wait, and if it stays so, see the operator's log."
    return Finding(Reason.DEPLOYMENT_NOT_FOUND, text)


def _cannot_start(relay: Relay, seen: Observed) -> Finding | None:
    return None if is_settled(seen.deployment, relay.replicas) else pod_trouble(relay, seen)


_CHECKS: tuple[Check, ...] = (
    _name_taken,
    _refused,
    _contested,
    _held_back,
    _leaving,
    _missing,
    rolled_back,
    overdue,
    _cannot_start,
    pods_refused,
    in_progress,
)
