"""What a status is made of, and what a check says about it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import Reason
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.children.plan import Plan
from tokenplace_operator.children.write_backoff import Revert
from tokenplace_operator.observe.certificates import CertificateInfo
from tokenplace_operator.observe.facts import Facts
from tokenplace_operator.observe.upstream_health import UpstreamHealth


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a status is made of besides the relay itself."""

    plan: Plan
    deployment: Object | None
    now: datetime
    pods: tuple[Object, ...] | None = None
    """None: not read, since nothing has changed."""
    facts: Facts = field(default_factory=Facts)
    route: Object | None = None
    """The live HTTPRoute."""
    gpu_error: str = ""
    """Why gpu.host did not resolve just now; empty when it did or need not."""
    refusal: str = ""
    """What the API server said when it refused a child; empty when it did not."""
    reverts: tuple[Revert, ...] = ()
    """Children that somebody undoes each time."""
    upstream: UpstreamHealth | None = None
    """What the relay said of its GPU upstream; None before its first answer."""
    certificate: CertificateInfo | None = None
    """That of the Ingress; None where there is none to have."""
    rollback: "ActiveRollback | None" = None
    """The one that stands or begins."""
    previous: Object = field(default_factory=dict)
    """The status before."""


@dataclass(frozen=True, slots=True)
class ActiveRollback:
    """to_image runs in place of from_image, which the spec names; cause is the pods' own."""

    from_image: str
    to_image: str
    cause: str


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
