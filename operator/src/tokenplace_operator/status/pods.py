"""What the pods say of themselves: why one does not run or is not ready."""

from collections.abc import Iterator

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.observed import Finding, Observed

_PULL_FAILURES = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
_CRASHES = {"CrashLoopBackOff", "RunContainerError", "StartError"}
_BAD_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}


def pod_trouble(_relay: Relay, seen: Observed) -> Finding | None:
    """The first pod that cannot start."""
    return next((found for pod in _pods(seen) if (found := _trouble_of(pod)) is not None), None)


def unready_pod(seen: Observed) -> Finding | None:
    """The first pod that runs, but whose probes say no. Every pod is so for its first moments."""
    return next((found for pod in _pods(seen) if (found := _unready(pod)) is not None), None)


def is_running(pod: Object) -> bool:
    """Whether the pod runs somewhere, ready or not."""
    return bool(pod.get("status", {}).get("phase") == "Running")


def _pods(seen: Observed) -> Iterator[Object]:
    for pod in seen.pods or ():
        # What is on its way out tells nothing of the pods that are wanted.
        if "deletionTimestamp" not in pod["metadata"]:
            yield pod


def _trouble_of(pod: Object) -> Finding | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses", []):
        found = _waiting_trouble(name, container)
        if found is not None:
            return found
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            text = (
                f"Pod {name} fits on no node; check resources, and podTemplate's nodeSelector, "
                f"affinity and tolerations: {condition.get('message', '')}"
            )
            return Finding(Reason.POD_UNSCHEDULABLE, text)
    return None


def _waiting_trouble(pod: str, container: Object) -> Finding | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    tail = f"{reason}: {message}" if message else reason
    if reason in _PULL_FAILURES:
        text = f"Pod {pod} cannot pull its image; check spec.image and pullSecrets. {tail}"
        return Finding(Reason.IMAGE_PULL_FAILED, text)
    if reason in _CRASHES:
        ended = _how_it_ended(container)
        text = f"Pod {pod} ends soon after its start{ended}; see kubectl logs {pod}. {tail}"
        return Finding(Reason.CONTAINER_CRASHING, text)
    if reason in _BAD_CONFIG:
        text = f"Pod {pod} cannot be made from its spec; check podTemplate. {tail}"
        return Finding(Reason.CONTAINER_CONFIG_ERROR, text)
    return None


def _how_it_ended(container: Object) -> str:
    ended = container.get("lastState", {}).get("terminated")
    return f" ({ended.get('reason', 'Error')}, exit code {ended['exitCode']})" if ended else ""


def _unready(pod: Object) -> Finding | None:
    name = pod["metadata"]["name"]
    for container in pod.get("status", {}).get("containerStatuses", []):
        if "running" not in container.get("state", {}) or container.get("ready"):
            continue
        started = container.get("started", True)
        probe = "readiness probe (GET /healthz)" if started else "startup probe (GET /livez)"
        text = f"Pod {name} runs, but its {probe} fails; see kubectl describe pod {name}."
        return Finding(Reason.PROBE_FAILED, text)
    return None
