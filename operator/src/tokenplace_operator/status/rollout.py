"""How far the Deployment has got, as its controller tells it."""

from datetime import datetime, timedelta
from typing import Any

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.observed import Finding, Observed, count
from tokenplace_operator.status.pods import pod_trouble, unready_pod


def is_settled(deployment: Object | None, replicas: int) -> bool:
    """Whether the live Deployment has done all that its newest spec asks."""
    if deployment is None or not _is_current(deployment):
        return False
    names = ("updatedReplicas", "availableReplicas", "replicas")
    return all(count(deployment, name) == replicas for name in names)


def is_overdue(relay: Relay, seen: Observed) -> bool:
    """Whether the pods had their time: in a rollout, or after one that once succeeded."""
    deployment = seen.deployment
    if deployment is None or not _is_current(deployment):
        return False
    progress = _condition(deployment, "Progressing")
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return True
    if not _is_complete(deployment):
        return False
    # Its controller sets no deadline once a rollout is complete; pods may fail later, too.
    available = _condition(deployment, "Available")
    since = available.get("lastTransitionTime")
    deadline = timedelta(seconds=relay.rollback.deadline_seconds)
    if available.get("status") != "False" or since is None:
        return False
    return seen.now - datetime.fromisoformat(str(since)) > deadline


def overdue(relay: Relay, seen: Observed) -> Finding | None:
    """A rollout past its deadline, with the pods' own reason; the user must act."""
    if is_settled(seen.deployment, relay.replicas) or not is_overdue(relay, seen):
        return None
    found = pod_trouble(relay, seen) or unready_pod(seen) or pods_refused(relay, seen)
    message = _condition(seen.deployment, "Progressing").get("message", "")
    cause = found.message if found is not None else f"See kubectl describe pod. {message}"
    text = f"Not Ready within {relay.rollback.deadline_seconds} s. {cause}"
    return Finding(Reason.ROLLOUT_DEADLINE_EXCEEDED, text, must_act=True)


def pods_refused(relay: Relay, seen: Observed) -> Finding | None:
    """Quota, a LimitRange or an admission policy keeps pods from being made."""
    if is_settled(seen.deployment, relay.replicas):
        return None
    failure = _condition(seen.deployment, "ReplicaFailure")
    if failure.get("status") != "True":
        return None
    text = (
        f"Pods are refused; lift the rule that is named or follow it: {failure.get('message', '')}"
    )
    return Finding(Reason.POD_CREATION_FAILED, text)


def in_progress(relay: Relay, seen: Observed) -> Finding | None:
    """Pods that are not there or not ready yet, without anything being known to be wrong."""
    if is_settled(seen.deployment, relay.replicas):
        return None
    if seen.deployment is not None and _is_complete(seen.deployment):
        found = unready_pod(seen)
        if found is not None:
            return found
    ready = count(seen.deployment, "readyReplicas")
    text = f"{ready} of {relay.replicas} pods are ready; the rollout goes on."
    return Finding(Reason.ROLLOUT_IN_PROGRESS, text)


def _is_current(deployment: Object) -> bool:
    generation: int = deployment["metadata"].get("generation", 1)
    return count(deployment, "observedGeneration") >= generation


def _is_complete(deployment: Object) -> bool:
    progress = _condition(deployment, "Progressing")
    return _is_current(deployment) and progress.get("reason") == "NewReplicaSetAvailable"


def _condition(deployment: Object | None, kind: str) -> dict[str, Any]:
    conditions = (deployment or {}).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one.get("type") == kind), {})
