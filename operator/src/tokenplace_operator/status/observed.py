"""The inputs of a status, and the results of its checks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.children.plan import Plan
from tokenplace_operator.children.revert import Revert
from tokenplace_operator.observe.facts import CertificateInfo, Facts, UpstreamHealth


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything other than the relay that a status depends on."""

    plan: Plan
    deployment: Object | None
    now: datetime
    pods: tuple[Object, ...] | None = None
    """None when the pods were not read, because nothing has changed."""
    facts: Facts = field(default_factory=Facts)
    route: Object | None = None
    """The live HTTPRoute."""
    gpu_error: str = ""
    """Why the last lookup of gpu.host failed; empty when it succeeded or was not needed."""
    rejection: str = ""
    """The message with which the API server rejected a child resource; empty without one."""
    reverts: tuple[Revert, ...] = ()
    """Child resources that another writer keeps reverting."""
    upstream: UpstreamHealth | None = None
    """The relay's report on its GPU upstream; None before the first one."""
    certificate: CertificateInfo | None = None
    """The certificate of the Ingress; None without an Ingress or TLS."""
    rollback: "ActiveRollback | None" = None
    """The rollback in effect."""
    previous: Object = field(default_factory=dict)
    """The status before."""


@dataclass(frozen=True, slots=True)
class ActiveRollback:
    """A rollback: to_image runs instead of from_image, which the spec names."""

    from_image: str
    to_image: str
    cause: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a relay is not Ready. needs_action: it does not go away without a change by a user."""

    reason: Reason
    message: str
    needs_action: bool = False


class ConditionState(NamedTuple):
    """Status, reason and message of one condition. status None means Unknown."""

    status: bool | None
    reason: Reason
    message: str


ProblemCheck = Callable[[Relay, Observed], Problem | None]
"""Checks for one problem; None when there is none."""

ConditionCheck = Callable[[Relay, Observed], ConditionState | None]
"""Computes one condition; None when it does not apply to the relay."""


def count(deployment: Object | None, name: str) -> int:
    """Return a number from the Deployment's status; 0 when it is absent."""
    return int((deployment or {}).get("status", {}).get(name, 0))
