"""Which image is wanted, which one runs, and whether its name can be moved to other bits."""

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.observed import Observed, Verdict
from tokenplace_operator.status.rollout import is_settled


def image(relay: Relay, seen: Observed) -> Object:
    """status.image; running is there only while a pod runs."""
    found = {"desired": relay.image.reference}
    running = running_digest(seen)
    if running:
        found["running"] = running
    good = _last_ready(relay, seen, running)
    if good:
        found["lastReady"] = good
    digest = running or relay.image.digest
    tagged = relay.image.tag and not relay.image.digest
    found["short"] = relay.image.tag if tagged else digest[7:19]
    return found


def knows_its_image(relay: Relay, previous: Object) -> bool:
    """Whether a relay that was Ready, and is settled now, has its running digest on record."""
    found = previous.get("image", {})
    recorded = "running" in found and found.get("desired") == relay.image.reference
    return recorded and any(
        one["type"] == Type.READY and one["status"] == "True"
        for one in previous.get("conditions", [])
    )


def image_pinned(relay: Relay, seen: Observed) -> Verdict:
    """ImagePinned."""
    if relay.image.digest:
        return Verdict(True, Reason.PINNED_BY_DIGEST, "The image is named by its digest.")
    digest = running_digest(seen)
    paste = f"set spec.image.digest to {digest}" if digest else "set spec.image.digest"
    text = f"Tag {relay.image.tag} can be moved to other bits; to pin what runs, {paste}."
    return Verdict(False, Reason.MUTABLE_TAG, text)


def running_digest(seen: Observed) -> str:
    """The digest that a running pod reports, the newest pod's when they differ; or empty."""
    if seen.pods is None:
        return str(seen.previous.get("image", {}).get("running", ""))
    return attempted_digest(seen, running=True)


def attempted_digest(seen: Observed, *, running: bool = False) -> str:
    """As running_digest, but also of containers that crash: their image was pulled."""
    for pod in sorted(seen.pods or (), key=_age, reverse=True):
        for container in pod.get("status", {}).get("containerStatuses", []):
            # Without "@" it is the id of an image that no registry knows by that name.
            _, at, digest = str(container.get("imageID", "")).rpartition("@")
            runs = "running" in container.get("state", {})
            if at and digest.startswith("sha256:") and (runs or not running):
                return digest
    return ""


def live_image(seen: Observed) -> str:
    """What the live Deployment tells its pods to run; empty without one."""
    if seen.deployment is None:
        return ""
    containers = seen.deployment["spec"]["template"]["spec"]["containers"]
    return str(containers[0].get("image", ""))


def _last_ready(relay: Relay, seen: Observed, running: str) -> str:
    before = str(seen.previous.get("image", {}).get("lastReady", ""))
    if not running or not relay.replicas or not is_settled(seen.deployment, relay.replicas):
        return before
    return f"{_repository(live_image(seen))}@{running}"


def _repository(reference: str) -> str:
    path, at, _ = reference.partition("@")
    if at:
        return path
    host, slash, name = reference.rpartition("/")
    return f"{host}{slash}{name.partition(':')[0]}"


def _age(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))
