"""Back to the image that was Ready last: when, to which one, and for how long.

The record in the status is the only memory. It is written before the Deployment changes, and it
stands as long as the spec names the image that failed. So a restart at any line goes on.
"""

from dataclasses import replace

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import MESSAGE_LIMIT, Reason
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.image import attempted_digest, live_image
from tokenplace_operator.status.observed import ActiveRollback, Finding, Observed
from tokenplace_operator.status.pods import pod_trouble, unready_pod
from tokenplace_operator.status.rollout import is_overdue, is_settled

_OF_THE_IMAGE = {Reason.IMAGE_PULL_FAILED, Reason.CONTAINER_CRASHING, Reason.PROBE_FAILED}
"""What another image may mend; no other one helps against a quota or a missing Secret."""


def active_rollback(relay: Relay, previous: Object) -> ActiveRollback | None:
    """The rollback that the status records, unless the user has ended it."""
    record = previous.get("rollback", {})
    if not relay.rollback.enabled or record.get("from") != relay.image.reference:
        return None
    return ActiveRollback(record["from"], record["to"], record.get("cause", ""))


def due_rollback(relay: Relay, seen: Observed) -> ActiveRollback | None:
    """The rollback to begin now: the rollout is overdue, and its image may be to blame."""
    good = str(seen.previous.get("image", {}).get("lastReady", ""))
    wanted = relay.image.reference
    if not relay.rollback.enabled or relay.paused or not good or good == wanted:
        return None
    if live_image(seen) != wanted or is_settled(seen.deployment, relay.replicas):
        return None
    found = pod_trouble(relay, seen) or unready_pod(seen)
    if found is None or found.reason not in _OF_THE_IMAGE or not is_overdue(relay, seen):
        return None
    if attempted_digest(seen) == good.partition("@")[2]:
        return None  # A tag that still names the same bits: those are not to blame.
    return ActiveRollback(wanted, good, found.message[:MESSAGE_LIMIT])


def with_rollback(relay: Relay, rollback: ActiveRollback | None) -> Relay:
    """The relay with the image that shall run."""
    if rollback is None:
        return relay
    repository, _, digest = rollback.to_image.partition("@")
    return replace(relay, image=replace(relay.image, repository=repository, tag="", digest=digest))


def record(seen: Observed) -> Object:
    """status.rollback, empty without one."""
    found = seen.rollback
    if found is None:
        return {}
    return {"from": found.from_image, "to": found.to_image, "cause": found.cause}


def rolled_back(relay: Relay, seen: Observed) -> Finding | None:
    """The relay serves, but not what the spec asks for."""
    found = seen.rollback
    if found is None:
        return None
    text = (
        f"{found.from_image} did not get Ready; pods run {found.to_image}, which was Ready last. "
        "Set spec.image to one that works; to try this one again, set rollback.enabled to false. "
    )
    if not is_settled(seen.deployment, relay.replicas):
        trouble = pod_trouble(relay, seen)
        text += f"That is not Ready yet. {trouble.message} " if trouble else "That rolls out. "
    return Finding(Reason.ROLLED_BACK, f"{text}Cause: {found.cause}", must_act=True)
