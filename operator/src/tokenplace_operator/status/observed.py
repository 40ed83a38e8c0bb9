"""What a status is made of, and what a check says about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tokenplace_operator.api import Relay
from tokenplace_operator.apply import Plan
from tokenplace_operator.conditions import Reason
from tokenplace_operator.facts import Facts
from tokenplace_operator.kinds import Object


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
    """What keeps a relay from being Ready. must_act: only the user can mend it."""

    reason: Reason
    message: str
    must_act: bool = False


class Verdict(NamedTuple):
    """One condition, judged. status None is Unknown."""

    status: bool | None
    reason: Reason
    message: str


Check = Callable[[Relay, Observed], Finding | None]
"""Looks for one thing that is wrong; None when it is right."""

Judge = Callable[[Relay, Observed], Verdict | None]
"""Judges one condition; None when the relay has no use for it."""


def count(deployment: Object | None, name: str) -> int:
    """A number of the Deployment's status; 0 when it is not there."""
    return int((deployment or {}).get("status", {}).get(name, 0))


def deployment_conditions(seen: Observed) -> list[dict[str, Any]]:
    """What the Deployment's controller says of it."""
    found: list[dict[str, Any]] = (seen.deployment or {}).get("status", {}).get("conditions", [])
    return found


def is_settled(deployment: Object | None, replicas: int) -> bool:
    """Whether the live Deployment has done all that its newest spec asks."""
    if deployment is None:
        return False
    status = deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    counts = (status.get(name, 0) for name in ("updatedReplicas", "availableReplicas", "replicas"))
    return current and all(found == replicas for found in counts)
