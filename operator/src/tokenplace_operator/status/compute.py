"""The whole status of a TokenplaceRelay, as a pure function of what was observed.

The text of a condition is in the module of its name: Ready, Reconciling and Stalled in ready.py,
CertificateReady in certificate_ready.py, and so on.
"""

from collections.abc import Iterator
from datetime import datetime

from tokenplace_operator.api.conditions import (
    OWNED_TYPES,
    Condition,
    Reason,
    Type,
    set_condition,
)
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.status.available import available
from tokenplace_operator.status.certificate_ready import certificate_ready
from tokenplace_operator.status.image_pinned import image, image_pinned
from tokenplace_operator.status.monitoring_ready import monitoring_ready
from tokenplace_operator.status.network_policy_accurate import gpu, network_policy_accurate
from tokenplace_operator.status.observed import ConditionCheck, Observed, Problem, count
from tokenplace_operator.status.paused import paused
from tokenplace_operator.status.ready import problems, ready_conditions
from tokenplace_operator.status.rollback import rollback_status
from tokenplace_operator.status.route_ready import route_ready
from tokenplace_operator.status.upstream_reachable import upstream_reachable

_CHECKS: dict[Type, ConditionCheck] = {
    Type.AVAILABLE: available,
    Type.IMAGE_PINNED: image_pinned,
    Type.UPSTREAM_REACHABLE: upstream_reachable,
    Type.NETWORK_POLICY_ACCURATE: network_policy_accurate,
    Type.CERTIFICATE_READY: certificate_ready,
    Type.MONITORING_READY: monitoring_ready,
    Type.ROUTE_READY: route_ready,
    Type.PAUSED: paused,
}
"""All conditions but Ready, Reconciling and Stalled, in the order of status.conditions."""


def compute_status(relay: Relay, observed: Observed) -> Object:
    """Return the status. Equal inputs give an equal status; transition times are kept."""
    status = {
        "observedGeneration": relay.generation,
        "replicas": count(observed.deployment, "replicas"),
        "readyReplicas": count(observed.deployment, "readyReplicas"),
        "selector": relay.selector_text,
        "host": relay.host,
        "url": relay.url,
        "image": image(relay, observed),
        "gpu": gpu(relay, observed),
        "rollback": rollback_status(observed),
        "conditions": list(_conditions(relay, observed)),
    }
    # The API server would store empty objects; the fields are absent instead.
    return {name: value for name, value in status.items() if value != {}}


def invalid_status(
    generation: int, spec_problems: tuple[str, ...], previous: Object, now: datetime
) -> Object:
    """Return the status of a relay whose spec cannot be read; it keeps the previous fields."""
    text = f"spec is invalid; correct it: {'; '.join(spec_problems)}"
    # needs_action: no retry can help, because the spec changes only by a user.
    problem = Problem(Reason.INVALID_SPEC, text, needs_action=True)
    old: list[Condition] = previous.get("conditions", [])
    new = ready_conditions(problem, old, generation, now)
    # Conditions of other writers are dropped: server-side apply merges the list by type, so they
    # stay theirs.
    kept_types = OWNED_TYPES - {condition["type"] for condition in new}
    kept = [condition for condition in old if condition["type"] in kept_types]
    # The other fields still describe the running pods, which an invalid spec does not change.
    return {**previous, "observedGeneration": generation, "conditions": [*new, *kept]}


def _conditions(relay: Relay, observed: Observed) -> Iterator[Condition]:
    old: list[Condition] = observed.previous.get("conditions", [])
    generation, now = relay.generation, observed.now
    # Only the first problem is shown; the order of the checks puts the cause before its
    # consequences.
    problem = next(problems(relay, observed), None)
    is_stopped = relay.replicas == 0
    yield from ready_conditions(problem, old, generation, now, is_stopped=is_stopped)
    for kind, check in _CHECKS.items():
        state = check(relay, observed)
        if state is not None:
            yield set_condition(old, kind, *state, generation=generation, now=now)
