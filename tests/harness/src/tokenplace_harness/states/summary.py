"""Cases of Ready, Reconciling, Stalled, Available and Paused."""

from typing import Any

from tokenplace_harness.states.seen import Case, condition, make_deployment, pod, unscheduled
from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.children.plan import Blocked, Plan
from tokenplace_operator.children.write_backoff import Revert
from tokenplace_operator.status.observed import ActiveRollback

ITS_POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "relay"}}
COMPLETE = condition("Progressing", "True", "NewReplicaSetAvailable")
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing")
REFUSED = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: pods")


def not_ready(reason: Reason, text: str, *, must_act: bool = False) -> dict[Type, Any]:
    """Ready, Reconciling and Stalled for what is wrong."""
    working, stalled = ("True", reason, text), ("False", Reason.NO_ACTION_REQUIRED, "No action")
    if must_act:
        working = ("False", Reason.ACTION_REQUIRED, "problem in condition Stalled")
        stalled = ("True", reason, text)
    return {
        Type.READY: ("False", reason, text),
        Type.RECONCILING: working,
        Type.STALLED: stalled,
    }


def rollout(*pods: Object, conditions: tuple[Object, ...] = ()) -> dict[str, Any]:
    return {"deployment": make_deployment(available=0, conditions=conditions), "pods": pods}


SUMMARIES: dict[str, Case] = {
    "serves": Case(
        wanted={
            Type.READY: ("True", Reason.AVAILABLE, "Relay is ready."),
            Type.RECONCILING: ("False", Reason.UP_TO_DATE, "All resources are up to date."),
            Type.STALLED: ("False", Reason.NO_ACTION_REQUIRED, "No action required."),
            Type.AVAILABLE: ("True", Reason.AVAILABLE, "1 pod serves."),
            Type.IMAGE_PINNED: ("True", Reason.PINNED_BY_DIGEST, "by its digest"),
            Type.NETWORK_POLICY_ACCURATE: ("True", Reason.POLICY_UP_TO_DATE, "exactly"),
            Type.PAUSED: ("False", Reason.NOT_PAUSED, "as the spec says"),
        }
    ),
    "stopped": Case(
        {"replicas": 0},
        {"deployment": make_deployment(available=0, replicas=0)},
        {
            Type.READY: ("True", Reason.SCALED_TO_ZERO, "replicas is 0"),
            Type.AVAILABLE: ("False", Reason.SCALED_TO_ZERO, "replicas is 0"),
        },
    ),
    "name taken": Case(
        seen={"plan": Plan(blocked=(Blocked("Service", "relay", "Deployment web"),))},
        wanted=not_ready(
            Reason.RESOURCE_NAME_CONFLICT, "Service relay belongs to Deployment web.", must_act=True
        ),
    ),
    "refused": Case(
        seen={"refusal": "exceeded quota"},
        wanted=not_ready(Reason.APPLY_REJECTED, "exceeded quota", must_act=True),
    ),
    "contested": Case(
        seen={"reverts": (Revert("Service", "relay", ".spec.type is set by cleaner", 8.0),)},
        wanted=not_ready(
            Reason.CONFLICTING_WRITES,
            "Service relay: .spec.type is set by cleaner. Stop",
            must_act=True,
        ),
    ),
    "paused with changes": Case(
        {"paused": True},
        {"plan": Plan(apply=(ITS_POLICY,))},
        not_ready(Reason.PAUSED, "1 change not made", must_act=True)
        | {
            Type.PAUSED: ("True", Reason.PAUSED, "1 change waits"),
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_NOT_APPLIED, "not as wanted"),
        },
    ),
    "paused without changes": Case(
        {"paused": True},
        wanted={
            Type.READY: ("True", Reason.AVAILABLE, "Relay is ready."),
            Type.PAUSED: ("True", Reason.PAUSED, "0 changes wait"),
        },
    ),
    "paused with two changes": Case(
        {"paused": True},
        {
            "plan": Plan(apply=(ITS_POLICY,), prune=(ITS_POLICY,)),
            "deployment": make_deployment(available=2),
        },
        not_ready(Reason.PAUSED, "2 changes not made", must_act=True)
        | {
            Type.PAUSED: ("True", Reason.PAUSED, "2 changes wait"),
            Type.AVAILABLE: ("True", Reason.AVAILABLE, "2 pods serve."),
        },
    ),
    "predecessor": Case(
        seen={"plan": Plan(waiting=(ITS_POLICY,))},
        wanted=not_ready(Reason.WAITING_FOR_DELETION, "NetworkPolicy relay is still"),
    ),
    "no deployment": Case(
        seen={"deployment": None},
        wanted=not_ready(Reason.DEPLOYMENT_NOT_FOUND, "does not exist yet"),
    ),
    "generation behind": Case(
        seen={"deployment": make_deployment(behind=True)},
        wanted=not_ready(Reason.ROLLOUT_IN_PROGRESS, "1 of 1 pods are ready"),
    ),
    "starting": Case(
        seen=rollout(pod(started=False)),
        wanted=not_ready(Reason.ROLLOUT_IN_PROGRESS, "0 of 1 pods are ready")
        | {Type.AVAILABLE: ("False", Reason.NO_PODS_AVAILABLE, "No pod is available.")},
    ),
    "pull": Case(
        seen=rollout(pod(waiting="ImagePullBackOff")),
        wanted=not_ready(Reason.IMAGE_PULL_FAILED, "check spec.image and pullSecrets"),
    ),
    "crash": Case(
        seen=rollout(pod(waiting="CrashLoopBackOff")),
        wanted=not_ready(Reason.CONTAINER_CRASHING, "see kubectl logs relay-1"),
    ),
    "config": Case(
        seen=rollout(pod(waiting="CreateContainerConfigError")),
        wanted=not_ready(Reason.CONTAINER_CONFIG_ERROR, "check podTemplate"),
    ),
    "unscheduled": Case(
        seen=rollout(unscheduled()),
        wanted=not_ready(Reason.POD_UNSCHEDULABLE, "0/3 nodes are available"),
    ),
    "quota": Case(
        seen=rollout(conditions=(REFUSED,)),
        wanted=not_ready(Reason.POD_CREATION_FAILED, "exceeded quota: pods"),
    ),
    "unready after a rollout": Case(
        seen=rollout(pod(), conditions=(COMPLETE,)),
        wanted=not_ready(Reason.PROBE_FAILED, "readiness probe (GET /healthz) fails"),
    ),
    "overdue for its image": Case(
        seen=rollout(pod(waiting="ErrImagePull"), conditions=(LATE,)),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "within 300 s. Pod relay-1 cannot pull", must_act=True
        ),
    ),
    "overdue for its startup": Case(
        seen=rollout(pod(started=False), conditions=(LATE,)),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "startup probe (GET /livez) fails", must_act=True
        ),
    ),
    "overdue for a quota": Case(
        seen=rollout(conditions=(LATE, REFUSED)),
        wanted=not_ready(Reason.ROLLOUT_DEADLINE_EXCEEDED, "exceeded quota", must_act=True),
    ),
    "overdue for reasons unknown": Case(
        seen=rollout(conditions=(LATE,)),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "describe pod. has timed out", must_act=True
        ),
    ),
    "down long after a rollout": Case(
        seen=rollout(
            pod(waiting="CrashLoopBackOff"),
            conditions=(COMPLETE, condition("Available", "False", "Minimum", age=301)),
        ),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "ends soon after its start", must_act=True
        ),
    ),
    "down for a moment after a rollout": Case(
        seen=rollout(
            pod(waiting="CrashLoopBackOff"),
            conditions=(COMPLETE, condition("Available", "False", "Minimum", age=299)),
        ),
        wanted=not_ready(Reason.CONTAINER_CRASHING, "ends soon"),
    ),
    "rolled back": Case(
        seen={"rollback": ActiveRollback("r@sha256:bad", "r@sha256:good", "it crashed")},
        wanted=not_ready(
            Reason.ROLLED_BACK,
            "r@sha256:bad did not get Ready; pods run r@",
            must_act=True,
        )
        | {Type.AVAILABLE: ("True", Reason.AVAILABLE, "1 pod serves.")},
    ),
    "rolled back in vain": Case(
        seen={
            **rollout(pod(waiting="CrashLoopBackOff")),
            "rollback": ActiveRollback("r@sha256:bad", "r@sha256:good", "it crashed"),
        },
        wanted=not_ready(Reason.ROLLED_BACK, "That is not Ready yet. Pod relay-1", must_act=True),
    ),
}
