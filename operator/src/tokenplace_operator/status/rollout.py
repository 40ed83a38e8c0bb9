"""The progress of the rollout, as the Deployment's status reports it."""

from datetime import datetime, timedelta

from tokenplace_operator.api.conditions import Condition, Reason, find
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.observed import Observed, Problem, count
from tokenplace_operator.status.pods import probe_problem, start_problem


def is_settled(deployment: Object | None, replicas: int) -> bool:
    """Whether the Deployment has rolled out its newest spec on all replicas."""
    # Numbers of an older generation describe the previous spec, and would report success too early.
    if deployment is None or not _is_current(deployment):
        return False
    # `replicas` too: it is higher while an old pod is still being removed.
    names = ("updatedReplicas", "availableReplicas", "replicas")
    return all(count(deployment, name) == replicas for name in names)


def is_overdue(relay: Relay, observed: Observed) -> bool:
    """Whether pods are unavailable for longer than rollback.deadlineSeconds."""
    deployment = observed.deployment
    if deployment is None or not _is_current(deployment):
        return False
    if _condition(deployment, "Progressing").get("reason") == "ProgressDeadlineExceeded":
        return True
    if not _is_complete(deployment):
        return False
    # Kubernetes sets no deadline once a rollout is complete, but pods may fail later, too.
    available = _condition(deployment, "Available")
    since = available.get("lastTransitionTime")
    deadline = timedelta(seconds=relay.rollback.deadline_seconds)
    if available.get("status") != "False" or since is None:
        return False
    return observed.now - datetime.fromisoformat(str(since)) > deadline


def overdue(relay: Relay, observed: Observed) -> Problem | None:
    """Return the problem of a rollout past its deadline, with the cause that the pods report."""
    if is_settled(observed.deployment, relay.replicas) or not is_overdue(relay, observed):
        return None
    problem = (
        start_problem(observed) or probe_problem(observed) or pod_creation_failed(relay, observed)
    )
    message = _condition(observed.deployment, "Progressing").get("message", "")
    cause = problem.message if problem is not None else f"See kubectl describe pod. {message}"
    text = f"The relay was not ready within {relay.rollback.deadline_seconds} s. {cause}"
    return Problem(Reason.ROLLOUT_DEADLINE_EXCEEDED, text, needs_action=True)


def pod_creation_failed(relay: Relay, observed: Observed) -> Problem | None:
    """Return the problem of pods that a quota, a LimitRange or an admission policy rejects."""
    if is_settled(observed.deployment, relay.replicas):
        return None
    failure = _condition(observed.deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    text = (
        "Pods cannot be created. "
        f"Satisfy or change the rule that the message names: {failure.get('message', '')}"
    )
    return Problem(Reason.POD_CREATION_FAILED, text)


def in_progress(relay: Relay, observed: Observed) -> Problem | None:
    """Return a problem while pods are missing or not ready and no cause is known."""
    if is_settled(observed.deployment, relay.replicas):
        return None
    # During a rollout every new pod is unready for a moment; only afterwards is a failing probe a
    # problem.
    if observed.deployment is not None and _is_complete(observed.deployment):
        problem = probe_problem(observed)
        if problem is not None:
            return problem
    ready = count(observed.deployment, "readyReplicas")
    text = f"The rollout is in progress: {ready} of {relay.replicas} pods are ready."
    return Problem(Reason.ROLLOUT_IN_PROGRESS, text)


def _is_current(deployment: Object) -> bool:
    generation: int = deployment["metadata"].get("generation", 1)
    return count(deployment, "observedGeneration") >= generation


def _is_complete(deployment: Object) -> bool:
    progress = _condition(deployment, "Progressing")
    return _is_current(deployment) and progress.get("reason") == "NewReplicaSetAvailable"


def _condition(deployment: Object | None, kind: str) -> Condition:
    return find((deployment or {}).get("status", {}).get("conditions", []), kind)
