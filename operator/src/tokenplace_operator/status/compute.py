"""What the status of a TokenplaceRelay says, as a pure function of what was observed.

`observed` is what goes in, `summary` judges Ready, and each other module judges one aspect.
"""

from datetime import datetime

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import OURS, Condition, Reason, Type, counted, set_condition
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.status.certificate import certificate_ready
from tokenplace_operator.status.image import image, image_pinned, knows_its_image
from tokenplace_operator.status.monitoring import monitoring_ready, route_ready
from tokenplace_operator.status.network import gpu, policy_accurate
from tokenplace_operator.status.observed import (
    Finding,
    Judge,
    Observed,
    Verdict,
    count,
)
from tokenplace_operator.status.pods import is_running
from tokenplace_operator.status.rollback import active_rollback, due_rollback, record, with_rollback
from tokenplace_operator.status.rollout import is_settled
from tokenplace_operator.status.summary import findings, summary
from tokenplace_operator.status.upstream import upstream_reachable

__all__ = [
    "Finding",
    "Observed",
    "Verdict",
    "active_rollback",
    "compute",
    "due_rollback",
    "invalid_status",
    "is_running",
    "is_settled",
    "knows_its_image",
    "with_rollback",
]


def compute(relay: Relay, seen: Observed) -> Object:
    """The whole status; equal inputs give an equal one, apart from times of real transitions."""
    status = {
        "observedGeneration": relay.generation,
        "replicas": count(seen.deployment, "replicas"),
        "readyReplicas": count(seen.deployment, "readyReplicas"),
        "selector": relay.selector_text,
        "host": relay.host,
        "url": relay.url,
        "image": image(relay, seen),
        "gpu": gpu(relay, seen),
        "rollback": record(seen),
        "conditions": _conditions(relay, seen),
    }
    # The server stores an empty object as it stands; nothing to say is better said by nothing.
    return {name: value for name, value in status.items() if value != {}}


def invalid_status(
    generation: int, problems: tuple[str, ...], previous: Object, now: datetime
) -> Object:
    """The status of a relay whose spec this operator cannot read."""
    message = "; ".join(problems)
    wrong = Finding(Reason.INVALID_SPEC, f"Correct the spec: {message}", must_act=True)
    old: list[Condition] = previous.get("conditions", [])
    kept = {name: value for name, value in previous.items() if name != "conditions"}
    first = summary(wrong, old, generation, now)
    others = OURS - {one["type"] for one in first}
    rest = [one for one in old if one["type"] in others]
    return {**kept, "observedGeneration": generation, "conditions": [*first, *rest]}


def _conditions(relay: Relay, seen: Observed) -> list[Condition]:
    old: list[Condition] = seen.previous.get("conditions", [])
    finding = next(findings(relay, seen), None)
    stopped = relay.replicas == 0
    now = seen.now
    found = summary(finding, old, relay.generation, now, scaled_to_zero=stopped)
    for kind, judge in _ASPECTS.items():
        verdict = judge(relay, seen)
        if verdict is not None:
            found.append(set_condition(old, kind, *verdict, generation=relay.generation, now=now))
    return found


def _available(relay: Relay, seen: Observed) -> Verdict:
    available = count(seen.deployment, "availableReplicas")
    if available > 0:
        serve = "serves" if available == 1 else "serve"
        return Verdict(True, Reason.AVAILABLE, f"{counted(available, 'pod')} {serve}.")
    if relay.replicas == 0:
        return Verdict(False, Reason.SCALED_TO_ZERO, "replicas is 0: the relay is stopped")
    return Verdict(False, Reason.NO_PODS_AVAILABLE, "No pod is available.")


def _paused(relay: Relay, seen: Observed) -> Verdict:
    if not relay.paused:
        return Verdict(False, Reason.NOT_PAUSED, "Children are kept as the spec says.")
    changes = len(seen.plan.apply) + len(seen.plan.prune)
    wait = "waits" if changes == 1 else "wait"
    text = (
        f"No child is written; {counted(changes, 'change')} {wait}. To go on, set spec.paused to "
    )
    return Verdict(True, Reason.PAUSED, f"{text}false.")


_ASPECTS: dict[Type, Judge] = {
    Type.AVAILABLE: _available,
    Type.IMAGE_PINNED: image_pinned,
    Type.UPSTREAM_REACHABLE: upstream_reachable,
    Type.NETWORK_POLICY_ACCURATE: policy_accurate,
    Type.CERTIFICATE_READY: certificate_ready,
    Type.MONITORING_READY: monitoring_ready,
    Type.ROUTE_READY: route_ready,
    Type.PAUSED: _paused,
}
"""Conditions besides the summary, in the order in which they are written."""
