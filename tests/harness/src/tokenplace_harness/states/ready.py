"""Cases of Ready, Reconciling, Stalled, Available and Paused."""

from typing import Any

from tokenplace_harness.states.cases import Case, condition, make_deployment, pod, unscheduled
from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.children.plan import Blocked, Plan
from tokenplace_operator.children.revert import Revert
from tokenplace_operator.status.observed import ActiveRollback

POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "relay"}}
COMPLETE = condition("Progressing", "True", "NewReplicaSetAvailable")
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing")
REFUSED = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: pods")


def not_ready(reason: Reason, text: str, *, needs_action: bool = False) -> dict[Type, Any]:
    """Return Ready, Reconciling and Stalled for a problem."""
    working, stalled = ("True", reason, text), ("False", Reason.NO_ACTION_REQUIRED, "No action")
    if needs_action:
        working = ("False", Reason.ACTION_REQUIRED, "problem in condition Stalled")
        stalled = ("True", reason, text)
    return {
        Type.READY: ("False", reason, text),
        Type.RECONCILING: working,
        Type.STALLED: stalled,
    }


def rollout(*pods: Object, conditions: tuple[Object, ...] = ()) -> dict[str, Any]:
    return {"deployment": make_deployment(available=0, conditions=conditions), "pods": pods}


READY_CASES: dict[str, Case] = {
    "ready": Case(
        expected={
            Type.READY: ("True", Reason.AVAILABLE, "Relay is ready."),
            Type.RECONCILING: ("False", Reason.UP_TO_DATE, "All resources are up to date."),
            Type.STALLED: ("False", Reason.NO_ACTION_REQUIRED, "No action required."),
            Type.AVAILABLE: ("True", Reason.AVAILABLE, "1 pod is available."),
            Type.IMAGE_PINNED: ("True", Reason.PINNED_BY_DIGEST, "by its digest"),
            Type.NETWORK_POLICY_ACCURATE: ("True", Reason.POLICY_UP_TO_DATE, "exactly"),
            Type.PAUSED: ("False", Reason.NOT_PAUSED, "Child resources are reconciled."),
        }
    ),
    "scaled to zero": Case(
        {"replicas": 0},
        {"deployment": make_deployment(available=0, replicas=0)},
        {
            Type.READY: ("True", Reason.SCALED_TO_ZERO, "spec.replicas is 0"),
            Type.AVAILABLE: ("False", Reason.SCALED_TO_ZERO, "spec.replicas is 0"),
        },
    ),
    "name conflict": Case(
        observed={"plan": Plan(blocked=(Blocked("Service", "relay", "Deployment web"),))},
        expected=not_ready(
            Reason.RESOURCE_NAME_CONFLICT,
            "Service relay belongs to Deployment web.",
            needs_action=True,
        ),
    ),
    "rejected": Case(
        observed={"rejection": "exceeded quota"},
        expected=not_ready(Reason.APPLY_REJECTED, "exceeded quota", needs_action=True),
    ),
    "conflicting writes": Case(
        observed={"reverts": (Revert("Service", "relay", ".spec.type is set by cleaner", 8.0),)},
        expected=not_ready(
            Reason.CONFLICTING_WRITES,
            "Service relay: .spec.type is set by cleaner. Stop",
            needs_action=True,
        ),
    ),
    "paused with changes": Case(
        {"paused": True},
        {"plan": Plan(apply=(POLICY,))},
        not_ready(Reason.PAUSED, "with 1 pending change", needs_action=True)
        | {
            Type.PAUSED: ("True", Reason.PAUSED, "with 1 pending change."),
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_NOT_APPLIED, "not applied"),
        },
    ),
    "paused without changes": Case(
        {"paused": True},
        expected={
            Type.READY: ("True", Reason.AVAILABLE, "Relay is ready."),
            Type.PAUSED: ("True", Reason.PAUSED, "with 0 pending changes."),
        },
    ),
    "paused with two changes": Case(
        {"paused": True},
        {
            "plan": Plan(apply=(POLICY,), prune=(POLICY,)),
            "deployment": make_deployment(available=2),
        },
        not_ready(Reason.PAUSED, "with 2 pending changes", needs_action=True)
        | {
            Type.PAUSED: ("True", Reason.PAUSED, "with 2 pending changes."),
            Type.AVAILABLE: ("True", Reason.AVAILABLE, "2 pods are available."),
        },
    ),
    "waiting for deletion": Case(
        observed={"plan": Plan(waiting=(POLICY,))},
        expected=not_ready(
            Reason.WAITING_FOR_DELETION, "NetworkPolicy relay of a deleted relay is still"
        ),
    ),
    "no Deployment": Case(
        observed={"deployment": None},
        expected=not_ready(Reason.DEPLOYMENT_NOT_FOUND, "does not exist yet"),
    ),
    "generation behind": Case(
        observed={"deployment": make_deployment(behind=True)},
        expected=not_ready(Reason.ROLLOUT_IN_PROGRESS, "1 of 1 pods are ready"),
    ),
    "starting": Case(
        observed=rollout(pod(started=False)),
        expected=not_ready(Reason.ROLLOUT_IN_PROGRESS, "0 of 1 pods are ready")
        | {Type.AVAILABLE: ("False", Reason.NO_PODS_AVAILABLE, "No pod is available.")},
    ),
    "image pull failure": Case(
        observed=rollout(pod(waiting="ImagePullBackOff")),
        expected=not_ready(Reason.IMAGE_PULL_FAILED, "Check spec.image and pullSecrets."),
    ),
    "crash loop": Case(
        observed=rollout(pod(waiting="CrashLoopBackOff")),
        expected=not_ready(Reason.CONTAINER_CRASHING, "See kubectl logs relay-1."),
    ),
    "container config error": Case(
        observed=rollout(pod(waiting="CreateContainerConfigError")),
        expected=not_ready(Reason.CONTAINER_CONFIG_ERROR, "Check spec.podTemplate."),
    ),
    "unschedulable": Case(
        observed=rollout(unscheduled()),
        expected=not_ready(Reason.POD_UNSCHEDULABLE, "0/3 nodes are available"),
    ),
    "quota exceeded": Case(
        observed=rollout(conditions=(REFUSED,)),
        expected=not_ready(Reason.POD_CREATION_FAILED, "exceeded quota: pods"),
    ),
    "unready after a rollout": Case(
        observed=rollout(pod(), conditions=(COMPLETE,)),
        expected=not_ready(Reason.PROBE_FAILED, "readiness probe (GET /healthz) fails"),
    ),
    "overdue because of its image": Case(
        observed=rollout(pod(waiting="ErrImagePull"), conditions=(LATE,)),
        expected=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED,
            "within 300 s. Pod relay-1 cannot pull",
            needs_action=True,
        ),
    ),
    "overdue because of its startup probe": Case(
        observed=rollout(pod(started=False), conditions=(LATE,)),
        expected=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "startup probe (GET /livez) fails", needs_action=True
        ),
    ),
    "overdue because of a quota": Case(
        observed=rollout(conditions=(LATE, REFUSED)),
        expected=not_ready(Reason.ROLLOUT_DEADLINE_EXCEEDED, "exceeded quota", needs_action=True),
    ),
    "overdue without a known cause": Case(
        observed=rollout(conditions=(LATE,)),
        expected=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "describe pod. has timed out", needs_action=True
        ),
    ),
    "down long after a rollout": Case(
        observed=rollout(
            pod(waiting="CrashLoopBackOff"),
            conditions=(COMPLETE, condition("Available", "False", "Minimum", age=301)),
        ),
        expected=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "exits soon after its start", needs_action=True
        ),
    ),
    "down briefly after a rollout": Case(
        observed=rollout(
            pod(waiting="CrashLoopBackOff"),
            conditions=(COMPLETE, condition("Available", "False", "Minimum", age=299)),
        ),
        expected=not_ready(Reason.CONTAINER_CRASHING, "exits soon"),
    ),
    "rolled back": Case(
        observed={"rollback": ActiveRollback("r@sha256:bad", "r@sha256:good", "it crashed")},
        expected=not_ready(
            Reason.ROLLED_BACK,
            "r@sha256:bad did not become ready; pods run r@",
            needs_action=True,
        )
        | {Type.AVAILABLE: ("True", Reason.AVAILABLE, "1 pod is available.")},
    ),
    "rolled back to an image that fails, too": Case(
        observed={
            **rollout(pod(waiting="CrashLoopBackOff")),
            "rollback": ActiveRollback("r@sha256:bad", "r@sha256:good", "it crashed"),
        },
        expected=not_ready(
            Reason.ROLLED_BACK, "The rollback is not ready yet. Pod relay-1", needs_action=True
        ),
    ),
}
