"""A case of the conditions table, and builders for its relay, Deployment and pods."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import HTTP_ROUTE, Object
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.children.plan import Plan
from tokenplace_operator.status.observed import Observed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
IMAGE = f"ghcr.io/futuroptimist/tokenplace-relay@{DIGEST}"


def make_relay(**spec: object) -> Relay:
    metadata = {"name": "relay", "namespace": "default", "uid": "u", "generation": 3}
    full = {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}, **spec}
    return parse({"metadata": metadata, "spec": full})


def make_deployment(
    *,
    available: int = 1,
    replicas: int = 1,
    behind: bool = False,
    conditions: tuple[Object, ...] = (),
) -> Object:
    counts = {"replicas": replicas, "updatedReplicas": replicas}
    ready = {"readyReplicas": available, "availableReplicas": available}
    container = {"name": "relay", "image": IMAGE}
    return {
        "metadata": {"generation": 2},
        "spec": {"template": {"spec": {"containers": [container]}}},
        "status": {
            "observedGeneration": 1 if behind else 2,
            **counts,
            **ready,
            "conditions": list(conditions),
        },
    }


def condition(kind: str, status: str, reason: str, message: str = "", age: int = 0) -> Object:
    since = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


def pod(*, waiting: str = "", ready: bool = False, started: bool = True) -> Object:
    container: Object = {"name": "relay", "ready": ready, "started": started, "imageID": IMAGE}
    container["state"] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {"metadata": {"name": "relay-1"}, "status": {"containerStatuses": [container]}}


def unscheduled() -> Object:
    text = "0/3 nodes are available"
    gate = {"type": "PodScheduled", "reason": "Unschedulable", "message": text}
    return {"metadata": {"name": "relay-1"}, "status": {"conditions": [gate]}}


@dataclass(frozen=True, slots=True)
class Case:
    """A spec, the observed state, and the expected conditions (status, reason, part of message)."""

    spec: dict[str, Any] = field(default_factory=dict)
    observed: dict[str, Any] = field(default_factory=dict)
    expected: dict[Type, tuple[str, Reason, str]] = field(default_factory=dict)


def observed(case: Case) -> Observed:
    """Return the observed state of a ready relay, with the changes of the case."""
    ready = Observed(plan=Plan(), deployment=make_deployment(), now=NOW)
    return replace(ready, **case.observed)


def answer(accepted: str, text: str, gateway: str = "public") -> Object:
    """Return one entry of an HTTPRoute's status.parents."""
    condition = {"type": "Accepted", "status": accepted, "reason": "Any", "message": text}
    parent = {"group": HTTP_ROUTE.group, "kind": "Gateway", "name": gateway}
    return {"parentRef": parent, "conditions": [condition]}
