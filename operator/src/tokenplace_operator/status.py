"""What the status of a TokenplaceRelay says, as a pure function of what was observed.

Ready is the summary: the first check that fails gives it its reason and message. The order of
the checks is the order in which a person would look.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tokenplace_operator.api import GpuMode, Relay
from tokenplace_operator.apply import Plan
from tokenplace_operator.conditions import Condition, Reason, Type, set_condition, text_time
from tokenplace_operator.desired.network_policy import gpu_blocks
from tokenplace_operator.facts import Facts
from tokenplace_operator.kinds import Object

MAX_ADDRESSES = 128
_PULL_FAILURES = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
_CRASHES = {"CrashLoopBackOff", "RunContainerError", "StartError"}
_BAD_CONFIG = {"CreateContainerConfigError", "CreateContainerError"}


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a status is made of besides the relay itself."""

    plan: Plan
    deployment: Object | None
    pods: tuple[Object, ...] = ()
    facts: Facts = field(default_factory=Facts)
    gpu_error: str = ""
    """Why gpu.host did not resolve just now; empty when it did or need not."""
    refusal: str = ""
    """What the API server said when it refused a child; empty when it did not."""
    previous: Object = field(default_factory=dict)
    """The status before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found wrong. must_act: only the user can mend it."""

    reason: Reason
    message: str
    must_act: bool = False


def compute(relay: Relay, seen: Observed, now: datetime) -> Object:
    """The whole status; equal inputs give an equal one, apart from times of real transitions."""
    return {
        "observedGeneration": relay.generation,
        "replicas": _count(seen.deployment, "replicas"),
        "readyReplicas": _count(seen.deployment, "readyReplicas"),
        "selector": relay.selector_text,
        "host": relay.host,
        "url": relay.url,
        "image": _image(relay, seen),
        "gpu": _gpu(relay, seen, now),
        "conditions": _conditions(relay, seen, now),
    }


def of_invalid(
    generation: int, problems: tuple[str, ...], previous: Object, now: datetime
) -> Object:
    """The status of a relay whose spec this operator cannot read."""
    message = "; ".join(problems)
    wrong = Finding(Reason.SPEC_INVALID, f"Correct the spec: {message}", must_act=True)
    old: list[Condition] = previous.get("conditions", [])
    kept = {name: value for name, value in previous.items() if name != "conditions"}
    summary = _summary(wrong, old, generation, now)
    types = {one["type"] for one in summary}
    rest = [one for one in old if one["type"] not in types]
    return {**kept, "observedGeneration": generation, "conditions": [*summary, *rest]}


def is_settled(deployment: Object | None, replicas: int) -> bool:
    """Whether the live Deployment has done all that its newest spec asks."""
    if deployment is None:
        return False
    status = deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    counts = (status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas"))
    return current and all(count == replicas for count in counts)


def running_digest(pods: tuple[Object, ...]) -> str:
    """The digest that a running pod reports; the newest pod's when they differ."""
    ordered = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    for pod in reversed(ordered):
        for container in pod.get("status", {}).get("containerStatuses", []):
            digest = str(container.get("imageID", "")).rpartition("@")[2]
            if "running" in container.get("state", {}) and digest.startswith("sha256:"):
                return digest
    return ""


def _conditions(relay: Relay, seen: Observed, now: datetime) -> list[Condition]:
    old: list[Condition] = seen.previous.get("conditions", [])
    finding = next(_findings(relay, seen), None)

    def one(kind: Type, status: bool | None, reason: Reason, message: str) -> Condition:
        return set_condition(
            old, kind, status, reason, message, generation=relay.generation, now=now
        )

    return [
        *_summary(finding, old, relay.generation, now, scaled_to_zero=relay.replicas == 0),
        one(Type.AVAILABLE, *_available(relay, seen)),
        one(Type.IMAGE_PINNED, *_image_pinned(relay, seen)),
        one(Type.NETWORK_POLICY_ACCURATE, *_policy_accurate(relay, seen)),
        one(Type.PAUSED, *_paused(relay, seen)),
    ]


def _summary(
    finding: Finding | None,
    old: list[Condition],
    generation: int,
    now: datetime,
    *,
    scaled_to_zero: bool = False,
) -> list[Condition]:
    """Ready, Reconciling and Stalled, which never contradict each other."""

    def one(kind: Type, status: bool, reason: Reason, message: str) -> Condition:
        return set_condition(old, kind, status, reason, message, generation=generation, now=now)

    if finding is None:
        reason = Reason.SCALED_TO_ZERO if scaled_to_zero else Reason.AVAILABLE
        message = "replicas is 0: the relay is stopped" if scaled_to_zero else "The relay serves."
        return [
            one(Type.READY, True, reason, message),
            one(Type.RECONCILING, False, Reason.SETTLED, "Everything is as wanted."),
            one(Type.STALLED, False, Reason.SETTLED, "Nothing waits for you."),
        ]
    stalled = finding.must_act
    if stalled:
        working, waiting = "Waiting for a change by you.", finding.message
    else:
        working, waiting = finding.message, "Nothing waits for you."
    calm = Reason.PROGRESSING
    return [
        one(Type.READY, False, finding.reason, finding.message),
        one(Type.RECONCILING, not stalled, finding.reason if not stalled else calm, working),
        one(Type.STALLED, stalled, finding.reason if stalled else calm, waiting),
    ]


def _findings(relay: Relay, seen: Observed) -> Iterator[Finding]:
    """Everything that keeps the relay from being Ready, the most telling first."""
    checks: tuple[Callable[[Relay, Observed], Finding | None], ...] = (
        _name_taken,
        _refused,
        _held_back,
        _leaving,
        _missing,
        _pod_trouble,
        _deadline_exceeded,
        _in_progress,
    )
    for check in checks:
        found = check(relay, seen)
        if found is not None:
            yield found


def _name_taken(_relay: Relay, seen: Observed) -> Finding | None:
    if not seen.plan.blocked:
        return None
    taken = "; ".join(f"{one.kind} {one.name} belongs to {one.by}" for one in seen.plan.blocked)
    text = f"{taken}. Delete or rename it, or choose another name in the spec."
    return Finding(Reason.NAME_TAKEN, text, must_act=True)


def _refused(_relay: Relay, seen: Observed) -> Finding | None:
    if not seen.refusal:
        return None
    text = f"The API server refused a child: {seen.refusal}"
    return Finding(Reason.APPLY_REFUSED, text, must_act=True)


def _held_back(relay: Relay, seen: Observed) -> Finding | None:
    if not relay.paused or seen.plan.is_empty:
        return None
    changes = len(seen.plan.apply) + len(seen.plan.prune)
    text = f"Paused with {changes} changes not made; set spec.paused to false to make them."
    return Finding(Reason.PAUSED, text, must_act=True)


def _leaving(_relay: Relay, seen: Observed) -> Finding | None:
    if not seen.plan.waiting:
        return None
    names = ", ".join(f"{one['kind']} {one['metadata']['name']}" for one in seen.plan.waiting)
    return Finding(Reason.WAITING_FOR_DELETION, f"An earlier {names} is still being deleted.")


def _missing(_relay: Relay, seen: Observed) -> Finding | None:
    if seen.deployment is not None:
        return None
    return Finding(Reason.DEPLOYMENT_MISSING, "The Deployment does not exist yet.")


def _pod_trouble(relay: Relay, seen: Observed) -> Finding | None:
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


def _deadline_exceeded(_relay: Relay, seen: Observed) -> Finding | None:
    for condition in _deployment_conditions(seen):
        message = condition.get("message", "")
        if condition.get("reason") == "ProgressDeadlineExceeded":
            text = f"The rollout does not get on; see kubectl describe pod. {message}"
            return Finding(Reason.ROLLOUT_DEADLINE_EXCEEDED, text, must_act=True)
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return Finding(Reason.POD_REFUSED, f"Pods are refused: {message}")
    return None


def _in_progress(relay: Relay, seen: Observed) -> Finding | None:
    if is_settled(seen.deployment, relay.replicas):
        return None
    ready = _count(seen.deployment, "readyReplicas")
    text = f"{ready} of {relay.replicas} pods are ready; the rollout goes on."
    return Finding(Reason.ROLLOUT_PENDING, text)


def _available(relay: Relay, seen: Observed) -> tuple[bool, Reason, str]:
    available = _count(seen.deployment, "availableReplicas")
    if available > 0:
        return True, Reason.AVAILABLE, f"{available} pods serve."
    if relay.replicas == 0:
        return False, Reason.SCALED_TO_ZERO, "replicas is 0: the relay is stopped"
    return False, Reason.ROLLOUT_PENDING, "No pod serves yet."


def _image_pinned(relay: Relay, seen: Observed) -> tuple[bool, Reason, str]:
    if relay.image.digest:
        return True, Reason.DIGEST, "The image is named by its digest."
    digest = _running(seen)
    paste = f"set spec.image.digest to {digest}" if digest else "set spec.image.digest"
    text = f"Tag {relay.image.tag} can be moved to other bits; to pin what runs, {paste}."
    return False, Reason.TAG_ONLY, text


def _policy_accurate(relay: Relay, seen: Observed) -> tuple[bool, Reason, str]:
    if not relay.network_policy.enabled:
        return False, Reason.POLICY_DISABLED, "networkPolicy.enabled is false: nothing is denied."
    if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
        return True, Reason.POLICY_CURRENT, "The policy names exactly the wanted traffic."
    host = relay.gpu.host
    if seen.gpu_error:
        kept = "the last known addresses stay open" if seen.facts.gpu_addresses else "none is open"
        text = f"{host} does not resolve ({seen.gpu_error}); {kept}. Check gpu.host and DNS."
        return False, Reason.GPU_HOST_UNRESOLVED, text
    return True, Reason.POLICY_CURRENT, f"The policy follows the addresses of {host}."


def _paused(relay: Relay, seen: Observed) -> tuple[bool, Reason, str]:
    if not relay.paused:
        return False, Reason.ACTIVE, "Children are kept as the spec says."
    changes = len(seen.plan.apply) + len(seen.plan.prune)
    return True, Reason.PAUSED, f"No child is written; {changes} changes wait."


def _image(relay: Relay, seen: Observed) -> Object:
    running = _running(seen)
    digest = running or relay.image.digest
    short = relay.image.tag if relay.image.tag and not relay.image.digest else digest[7:19]
    image = {"desired": relay.image.reference, "short": short}
    return {**image, "running": running} if running else image


def _running(seen: Observed) -> str:
    before: str = seen.previous.get("image", {}).get("running", "")
    return running_digest(seen.pods) or before


def _gpu(relay: Relay, seen: Observed, now: datetime) -> Object:
    if relay.gpu.mode is GpuMode.NONE:
        return {}
    gpu: Object = {"service": relay.gpu.service_name}
    addresses = [block.rpartition("/")[0] for block in gpu_blocks(relay, seen.facts)]
    if addresses:
        gpu["addresses"] = addresses[:MAX_ADDRESSES]
    if relay.gpu.mode is GpuMode.EXTERNAL_NAME and addresses:
        before = seen.previous.get("gpu", {})
        # Moves only with the addresses: a time of every look-up would be a write a minute.
        same = before.get("addresses") == gpu["addresses"] and "lastResolved" in before
        gpu["lastResolved"] = before["lastResolved"] if same else text_time(now)
    return gpu


def _count(deployment: Object | None, name: str) -> int:
    return int((deployment or {}).get("status", {}).get(name, 0))


def _deployment_conditions(seen: Observed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (seen.deployment or {}).get("status", {}).get("conditions", [])
    return found
