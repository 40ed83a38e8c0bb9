"""Problems of pods: why one cannot start or is not ready."""

from collections.abc import Iterator

from tokenplace_operator.api.conditions import Reason, find
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.observed import Observed, Problem

# The kubelet alternates between ErrImagePull and ImagePullBackOff for the same problem.
_PULL_FAILURES = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
_CRASHES = {"CrashLoopBackOff", "RunContainerError", "StartError"}
_CONFIG_ERRORS = {"CreateContainerConfigError", "CreateContainerError"}


def start_problem(observed: Observed) -> Problem | None:
    """Return the problem of the first pod that cannot start."""
    problems = map(_start_problem, _remaining_pods(observed))
    return next((problem for problem in problems if problem is not None), None)


def probe_problem(observed: Observed) -> Problem | None:
    """Return the problem of the first running pod that is not ready, as every new pod is."""
    problems = map(_probe_problem, _remaining_pods(observed))
    return next((problem for problem in problems if problem is not None), None)


def is_running(pod: Object) -> bool:
    """Whether the pod runs on a node, ready or not."""
    return bool(pod.get("status", {}).get("phase") == "Running")


def _remaining_pods(observed: Observed) -> Iterator[Object]:
    """Yield the pods that are not being deleted."""
    # A pod that is being deleted fails its probes by design while it drains.
    return (pod for pod in observed.pods or () if "deletionTimestamp" not in pod["metadata"])


def _start_problem(pod: Object) -> Problem | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    for container in status.get("containerStatuses", []):
        problem = _waiting_problem(name, container)
        if problem is not None:
            return problem
    scheduled = find(status.get("conditions", []), "PodScheduled")
    if scheduled.get("reason") != "Unschedulable":
        return None
    text = (
        f"Pod {name} fits on no node. Check resources, and podTemplate's nodeSelector, "
        f"affinity and tolerations: {scheduled.get('message', '')}"
    )
    return Problem(Reason.POD_UNSCHEDULABLE, text)


def _waiting_problem(pod: str, container: Object) -> Problem | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    detail = f"{reason}: {message}" if message else reason
    if reason in _PULL_FAILURES:
        text = f"Pod {pod} cannot pull its image. Check spec.image and pullSecrets. {detail}"
        return Problem(Reason.IMAGE_PULL_FAILED, text)
    if reason in _CRASHES:
        exit_text = _exit_text(container)
        text = f"Pod {pod} exits soon after its start{exit_text}. See kubectl logs {pod}. {detail}"
        return Problem(Reason.CONTAINER_CRASHING, text)
    if reason in _CONFIG_ERRORS:
        text = f"The container of pod {pod} cannot be created. Check spec.podTemplate. {detail}"
        return Problem(Reason.CONTAINER_CONFIG_ERROR, text)
    return None


def _exit_text(container: Object) -> str:
    # A container in CrashLoopBackOff has its exit code in lastState; state holds only the wait.
    ended = container.get("lastState", {}).get("terminated")
    return f" ({ended.get('reason', 'Error')}, exit code {ended['exitCode']})" if ended else ""


def _probe_problem(pod: Object) -> Problem | None:
    name = pod["metadata"]["name"]
    for container in pod.get("status", {}).get("containerStatuses", []):
        if "running" not in container.get("state", {}) or container.get("ready"):
            continue
        has_started = container.get("started", True)
        probe = "readiness probe (GET /healthz)" if has_started else "startup probe (GET /livez)"
        text = f"Pod {name} is running, but its {probe} fails. See kubectl describe pod {name}."
        return Problem(Reason.PROBE_FAILED, text)
    return None
