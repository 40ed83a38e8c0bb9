"""Rollback to the last image that was Ready: when it starts, to which image, and when it ends.

status.rollback is the only record of a rollback. It is written before the Deployment changes and
stays while the spec names the failed image, so an operator that restarts continues the rollback.
"""

from dataclasses import replace

from tokenplace_operator.api.conditions import MESSAGE_LIMIT, Reason
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.image_pinned import attempted_digest, live_image
from tokenplace_operator.status.observed import ActiveRollback, Observed, Problem
from tokenplace_operator.status.pods import probe_problem, start_problem
from tokenplace_operator.status.rollout import is_overdue, is_settled

_IMAGE_PROBLEMS = {Reason.IMAGE_PULL_FAILED, Reason.CONTAINER_CRASHING, Reason.PROBE_FAILED}
"""Problems that another image may solve; none solves a quota or a missing Secret."""


def active_rollback(relay: Relay, previous: Object) -> ActiveRollback | None:
    """Return the rollback that the status records, unless a change of the spec has ended it."""
    record = previous.get("rollback", {})
    if not relay.rollback.enabled or record.get("from") != relay.image.reference:
        return None
    return ActiveRollback(record["from"], record["to"], record.get("cause", ""))


def due_rollback(relay: Relay, observed: Observed) -> ActiveRollback | None:
    """Return the rollback to start now: the rollout is overdue, perhaps because of its image."""
    last_ready = str(observed.previous.get("image", {}).get("lastReady", ""))
    desired = relay.image.reference
    # Without an image that was Ready there is no target. A paused operator changes no Deployment.
    if not relay.rollback.enabled or relay.paused or last_ready in {"", desired}:
        return None
    # The rollout of the desired image has not started, so its pods cannot show a problem of it.
    if live_image(observed) != desired or is_settled(observed.deployment, relay.replicas):
        return None
    problem = start_problem(observed) or probe_problem(observed)
    if problem is None or problem.reason not in _IMAGE_PROBLEMS:
        return None
    if not is_overdue(relay, observed):
        return None
    # A tag may still name the image that was Ready before; then the image is not the cause.
    if attempted_digest(observed) == last_ready.partition("@")[2]:
        return None
    return ActiveRollback(desired, last_ready, problem.message[:MESSAGE_LIMIT])


def with_rollback(relay: Relay, rollback: ActiveRollback | None) -> Relay:
    """Return the relay with the image of the rollback in place of its own."""
    if rollback is None:
        return relay
    # By digest and without the tag: the tag may be the one that was moved to the broken image.
    repository, _, digest = rollback.to_image.partition("@")
    return replace(relay, image=replace(relay.image, repository=repository, tag="", digest=digest))


def rollback_status(observed: Observed) -> Object:
    """Return status.rollback; empty without a rollback."""
    rollback = observed.rollback
    if rollback is None:
        return {}
    return {"from": rollback.from_image, "to": rollback.to_image, "cause": rollback.cause}


def rolled_back(relay: Relay, observed: Observed) -> Problem | None:
    """Return the problem that the running image is not the one of the spec."""
    rollback = observed.rollback
    if rollback is None:
        return None
    text = (
        f"{rollback.from_image} did not become ready; pods run {rollback.to_image}, the last image "
        "that was ready. Set spec.image to a working image; to retry this one, set "
        "rollback.enabled to false. "
    )
    if not is_settled(observed.deployment, relay.replicas):
        problem = start_problem(observed)
        detail = f"is not ready yet. {problem.message}" if problem else "is in progress."
        text += f"The rollback {detail} "
    return Problem(Reason.ROLLED_BACK, f"{text}Cause: {rollback.cause}", needs_action=True)
