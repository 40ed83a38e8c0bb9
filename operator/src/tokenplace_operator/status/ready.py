"""Ready, Reconciling and Stalled, as `kubectl wait` and kstatus read them.

Exactly one of the three is True. The first problem in the order of `_CHECKS` gives Ready its reason
and message; the order is that in which a person would look for the cause.
"""

from collections.abc import Iterator
from datetime import datetime

from tokenplace_operator.api.conditions import Condition, Reason, Type, counted, set_condition
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.observed import Observed, Problem, ProblemCheck
from tokenplace_operator.status.pods import start_problem
from tokenplace_operator.status.rollback import rolled_back
from tokenplace_operator.status.rollout import (
    in_progress,
    is_settled,
    overdue,
    pod_creation_failed,
)


def problems(relay: Relay, observed: Observed) -> Iterator[Problem]:
    """Yield everything that keeps the relay from being Ready, the most important first."""
    for check in _CHECKS:
        problem = check(relay, observed)
        if problem is not None:
            yield problem


def ready_conditions(
    problem: Problem | None,
    old: list[Condition],
    generation: int,
    now: datetime,
    *,
    is_stopped: bool = False,
) -> list[Condition]:
    """Return Ready, Reconciling and Stalled; is_stopped: spec.replicas is 0."""

    def condition(kind: Type, status: bool, reason: Reason, message: str) -> Condition:
        return set_condition(old, kind, status, reason, message, generation=generation, now=now)

    # False conditions are written too, so that kubectl wait can wait for them.
    not_stalled = condition(Type.STALLED, False, Reason.NO_ACTION_REQUIRED, "No action required.")
    if problem is None:
        reason, message = Reason.AVAILABLE, "Relay is ready."
        # A stopped relay is Ready: it is in the state that the spec asks for.
        if is_stopped:
            reason, message = Reason.SCALED_TO_ZERO, "spec.replicas is 0: the relay is stopped."
        return [
            condition(Type.READY, True, reason, message),
            condition(Type.RECONCILING, False, Reason.UP_TO_DATE, "All resources are up to date."),
            not_stalled,
        ]
    not_ready = condition(Type.READY, False, problem.reason, problem.message)
    # kstatus: Stalled and Reconciling exclude each other, because a stalled object makes no
    # progress.
    if problem.needs_action:
        message = "Reconciliation is waiting for the problem in condition Stalled to be fixed."
        return [
            not_ready,
            condition(Type.RECONCILING, False, Reason.ACTION_REQUIRED, message),
            condition(Type.STALLED, True, problem.reason, problem.message),
        ]
    return [
        not_ready,
        condition(Type.RECONCILING, True, problem.reason, problem.message),
        not_stalled,
    ]


def _resource_name_conflict(_relay: Relay, observed: Observed) -> Problem | None:
    if not observed.plan.blocked:
        return None
    conflicts = "; ".join(
        f"{child.kind} {child.name} belongs to {child.by}" for child in observed.plan.blocked
    )
    text = f"{conflicts}. Delete or rename it, or choose another name in the spec."
    return Problem(Reason.RESOURCE_NAME_CONFLICT, text, needs_action=True)


def _apply_rejected(_relay: Relay, observed: Observed) -> Problem | None:
    if not observed.rejection:
        return None
    text = (
        "The API server rejected a child resource. "
        f"Satisfy or change the rule that its message names: {observed.rejection}"
    )
    return Problem(Reason.APPLY_REJECTED, text, needs_action=True)


def _conflicting_writes(relay: Relay, observed: Observed) -> Problem | None:
    # A paused operator writes nothing, so there is no write that another writer could revert.
    if relay.paused or not observed.reverts:
        return None
    reverts = "; ".join(f"{revert.kind} {revert.name}: {revert.how}" for revert in observed.reverts)
    text = (
        f"Another writer keeps reverting child resources. {reverts}. Stop that writer, or change "
        "the TokenplaceRelay; until then the operator backs off."
    )
    return Problem(Reason.CONFLICTING_WRITES, text, needs_action=True)


def _paused_with_changes(relay: Relay, observed: Observed) -> Problem | None:
    # A paused relay without pending changes is Ready: its resources equal the spec.
    if not relay.paused or observed.plan.is_empty:
        return None
    changes = counted(len(observed.plan.apply) + len(observed.plan.prune), "pending change")
    text = f"Reconciliation is paused with {changes}. Set spec.paused to false to resume."
    return Problem(Reason.PAUSED, text, needs_action=True)


def _waiting_for_deletion(_relay: Relay, observed: Observed) -> Problem | None:
    if not observed.plan.waiting:
        return None
    waiting = observed.plan.waiting
    names = ", ".join(f"{child['kind']} {child['metadata']['name']}" for child in waiting)
    text = (
        f"{names} of a deleted relay is still being deleted. Wait; if it stays, see its "
        "finalizers with kubectl describe."
    )
    return Problem(Reason.WAITING_FOR_DELETION, text)


def _deployment_not_found(_relay: Relay, observed: Observed) -> Problem | None:
    if observed.deployment is not None:
        return None
    text = "The Deployment does not exist yet. Wait; if it stays so, see the operator's log."
    return Problem(Reason.DEPLOYMENT_NOT_FOUND, text)


def _pod_cannot_start(relay: Relay, observed: Observed) -> Problem | None:
    return None if is_settled(observed.deployment, relay.replicas) else start_problem(observed)


_CHECKS: tuple[ProblemCheck, ...] = (
    _resource_name_conflict,
    _apply_rejected,
    _conflicting_writes,
    _paused_with_changes,
    _waiting_for_deletion,
    _deployment_not_found,
    rolled_back,
    overdue,
    _pod_cannot_start,
    pod_creation_failed,
    in_progress,
)
