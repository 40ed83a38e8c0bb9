"""Which image is wanted, which one runs, and whether its name can be moved to other bits."""

from tokenplace_operator.api import Relay
from tokenplace_operator.conditions import Reason
from tokenplace_operator.kinds import Object
from tokenplace_operator.status.observed import Observed, Verdict


def image(relay: Relay, seen: Observed) -> Object:
    """status.image."""
    running = _running(seen)
    digest = running or relay.image.digest
    short = relay.image.tag if relay.image.tag and not relay.image.digest else digest[7:19]
    found = {"desired": relay.image.reference, "short": short}
    return {**found, "running": running} if running else found


def image_pinned(relay: Relay, seen: Observed) -> Verdict:
    """ImagePinned."""
    if relay.image.digest:
        return Verdict(True, Reason.DIGEST, "The image is named by its digest.")
    digest = _running(seen)
    paste = f"set spec.image.digest to {digest}" if digest else "set spec.image.digest"
    text = f"Tag {relay.image.tag} can be moved to other bits; to pin what runs, {paste}."
    return Verdict(False, Reason.TAG_ONLY, text)


def running_digest(pods: tuple[Object, ...]) -> str:
    """The digest that a running pod reports; the newest pod's when they differ."""
    ordered = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    for pod in reversed(ordered):
        for container in pod.get("status", {}).get("containerStatuses", []):
            digest = str(container.get("imageID", "")).rpartition("@")[2]
            if "running" in container.get("state", {}) and digest.startswith("sha256:"):
                return digest
    return ""


def _running(seen: Observed) -> str:
    before: str = seen.previous.get("image", {}).get("running", "")
    return running_digest(seen.pods) or before
