"""ImagePinned: whether spec.image names its image by digest. Also status.image."""

from tokenplace_operator.api.conditions import Reason, Type, is_true
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.observed import ConditionState, Observed
from tokenplace_operator.status.rollout import is_settled


def image(relay: Relay, observed: Observed) -> Object:
    """Return status.image; `running` is absent while no pod runs."""
    status = {"desired": relay.image.reference}
    running = running_digest(observed)
    if running:
        status["running"] = running
    last_ready = _last_ready(relay, observed, running)
    if last_ready:
        status["lastReady"] = last_ready
    is_tagged = relay.image.tag and not relay.image.digest
    # Twelve digits of the digest, after "sha256:".
    short_digest = (running or relay.image.digest)[7:19]
    status["short"] = relay.image.tag if is_tagged else short_digest
    return status


def is_image_recorded(relay: Relay, previous: Object) -> bool:
    """Whether a relay that was Ready has the running digest of this image in its status."""
    status = previous.get("image", {})
    is_recorded = "running" in status and status.get("desired") == relay.image.reference
    return is_recorded and is_true(previous.get("conditions", []), Type.READY)


def image_pinned(relay: Relay, observed: Observed) -> ConditionState:
    """Return the condition ImagePinned."""
    if relay.image.digest:
        text = "spec.image names the image by its digest."
        return ConditionState(True, Reason.PINNED_BY_DIGEST, text)
    digest = running_digest(observed)
    value = f"set spec.image.digest to {digest}" if digest else "set spec.image.digest"
    text = f"Tag {relay.image.tag} can be moved to another image; to pin the current one, {value}."
    return ConditionState(False, Reason.MUTABLE_TAG, text)


def running_digest(observed: Observed) -> str:
    """Return the digest that the newest running pod reports; empty when none runs."""
    if observed.pods is None:
        # The pods were not read in this reconcile; an empty value would delete the field.
        return str(observed.previous.get("image", {}).get("running", ""))
    return _digest(observed, running_only=True)


def attempted_digest(observed: Observed) -> str:
    """Return the digest of the newest pod whose image was pulled, also if its container crashes."""
    return _digest(observed, running_only=False)


def _digest(observed: Observed, *, running_only: bool) -> str:
    # The newest first: a terminating pod of the previous rollout may still run another image.
    for pod in sorted(observed.pods or (), key=_creation_time, reverse=True):
        for container in pod.get("status", {}).get("containerStatuses", []):
            # Without "@", imageID is an identifier local to the node, not a registry digest.
            _, at, digest = str(container.get("imageID", "")).rpartition("@")
            is_counted = not running_only or "running" in container.get("state", {})
            if at and digest.startswith("sha256:") and is_counted:
                return digest
    return ""


def live_image(observed: Observed) -> str:
    """Return the image of the live Deployment; empty without one."""
    if observed.deployment is None:
        return ""
    containers = observed.deployment["spec"]["template"]["spec"]["containers"]
    return str(containers[0].get("image", ""))


def _last_ready(relay: Relay, observed: Observed, running: str) -> str:
    before = str(observed.previous.get("image", {}).get("lastReady", ""))
    # Only a settled rollout proves that the image becomes ready; until then the last one stays.
    if not running or not relay.replicas or not is_settled(observed.deployment, relay.replicas):
        return before
    # The live image, because the spec may already name the next one or a failed one.
    return f"{_repository(live_image(observed))}@{running}"


def _repository(reference: str) -> str:
    path, at, _ = reference.partition("@")
    if at:
        return path
    # From the right: a registry host may have a port, as in registry:5000/relay:1.
    host, slash, name = reference.rpartition("/")
    return f"{host}{slash}{name.partition(':')[0]}"


def _creation_time(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))
