"""What the pods say of themselves: why one does not run."""

from tokenplace_operator.api import Relay
from tokenplace_operator.conditions import Reason
from tokenplace_operator.kinds import Object
from tokenplace_operator.status.observed import Finding, Observed, is_settled

_PULL_FAILURES = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
_CRASHES = {"CrashLoopBackOff", "RunContainerError", "StartError"}
_BAD_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}


def pod_trouble(relay: Relay, seen: Observed) -> Finding | None:
    """The first pod that cannot start, while the rollout has not settled."""
    if is_settled(seen.deployment, relay.replicas):
        return None
    return next((found for pod in seen.pods if (found := _trouble_of(pod)) is not None), None)


def _trouble_of(pod: Object) -> Finding | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses", []):
        waiting = container.get("state", {}).get("waiting", {})
        found = _waiting_trouble(name, waiting.get("reason", ""), waiting.get("message", ""))
        if found is not None:
            return found
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            text = f"Pod {name} fits on no node: {condition.get('message', '')}"
            return Finding(Reason.POD_UNSCHEDULABLE, text)
    return None


def _waiting_trouble(pod: str, reason: str, message: str) -> Finding | None:
    tail = f"{reason}: {message}" if message else reason
    if reason in _PULL_FAILURES:
        text = f"Pod {pod} cannot pull its image; check spec.image and pullSecrets. {tail}"
        return Finding(Reason.IMAGE_PULL_FAILED, text)
    if reason in _CRASHES:
        text = f"Pod {pod} ends soon after its start; see kubectl logs {pod}. {tail}"
        return Finding(Reason.CONTAINER_CRASHES, text)
    if reason in _BAD_CONFIG:
        text = f"Pod {pod} cannot be made from its spec; check podTemplate. {tail}"
        return Finding(Reason.CONTAINER_CONFIG_INVALID, text)
    return None
