"""Values that cross the seam of the state: immutable, with durations instead of times.

Results of the busiest calls are named tuples: a frozen dataclass takes ten times as long to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import Key

Envelope = MappingProxyType[str, Any] | dict[str, Any]
"""Names and scalar values of an envelope; the state owns it, readers get read-only views."""


class Stage(StrEnum):
    """Where a request is. The last three are terminal: no transition leaves them."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    ANSWERED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_live(self) -> bool:
        """Whether the request is still without an answer."""
        return self in (Stage.QUEUED, Stage.CLAIMED)


@dataclass(frozen=True, slots=True)
class Proof:
    """The secrets with which a peer proves that it is a certain compute node.

    Nodes of token.place 0.1 show only their registration token.
    """

    credential: bytes = field(default=b"", repr=False)
    """Digest of its control credential; b'' when it showed none."""
    token: bytes = b""
    """Digest of its registration token; b'' on a relay that requires none."""


NO_PROOF = Proof()


class Work(NamedTuple):
    """A request that a compute node has claimed."""

    request: Key
    envelope: Envelope
    remaining: float
    """Seconds until its deadline."""
    waited: float
    """Seconds from its arrival to its first claim."""
    fencing_token: int
    """Rises with each claim and renewal; `unclaim` with an older one changes nothing."""
    expired_leases: int
    """Earlier claims that were never confirmed by a control call."""


class Control(NamedTuple):
    """The state of claimed work; remaining is in seconds, None when no deadline is known."""

    status: str
    remaining: float | None = None


class SelectedNode(NamedTuple):
    """The compute node that a selection chose, and its load."""

    key: str
    capabilities: Capabilities
    queue_depth: int
    in_flight: int
    load: float
    """Queued and claimed requests per place."""


class Choice(NamedTuple):
    """The outcome of a selection; selected is None when no node could be chosen."""

    selected: SelectedNode | None
    eligible: MappingProxyType[str, int]
    """Tier -> nodes that fit and have room."""
    full: MappingProxyType[str, int]
    """Tier -> nodes that fit but have no room."""
    any_node: bool = True
    """Whether any compute node is registered."""


class Cancellation(NamedTuple):
    """The stage in which a cancelled request ended, and how many were taken from a queue."""

    stage: Stage
    removed: int


class Answer(NamedTuple):
    """The answer to a request."""

    envelope: Envelope
    was_held: bool = False
    """Whether the call was allowed to hold."""


class Pending(NamedTuple):
    """A request without an answer yet, and the progress that its node reported, if any."""

    remaining: float
    """Seconds until its deadline."""
    progress: Envelope | None = None
    was_held: bool = False
    """Whether the call was allowed to hold."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One registered compute node, as lists show it."""

    key: str
    capabilities: Capabilities
    age: float
    """Seconds since its last call."""
    queue_depth: int
    in_flight: int
    load: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of the whole state; ages are in seconds, sizes in bytes."""

    queued: int = 0
    claimed: int = 0
    oldest_queued_age: float = 0.0
    oldest_claimed_age: float = 0.0
    pending: int = 0
    """Requests that are unanswered, or answered and not read."""
    requests: int = 0
    """Requests that are kept, ended ones too."""
    request_bytes: int = 0
    unread_bytes: int = 0
    replay_bytes: int = 0
    progress_bytes: int = 0
    nodes: int = 0
    healthy_nodes: int = 0
    oldest_node_age: float = 0.0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    evictions: Mapping[str, int] = field(default_factory=dict)
    controls: Mapping[str, int] = field(default_factory=dict)
    lease_renewals: int = 0
    requeued: int = 0

    @property
    def answer_bytes(self) -> int:
        """Bytes of answers that are kept, read ones too."""
        return self.unread_bytes + self.replay_bytes


@dataclass(frozen=True, slots=True)
class Owed:
    """The work that a drain waits for: requests without a read answer, and held calls."""

    requests: int
    held: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the backend of the state can be reached."""

    is_reachable: bool


@dataclass(frozen=True, slots=True)
class RequestSnapshot:
    """One request, for tests."""

    key: Key
    client: Key
    request_id: str
    node: str
    stage: Stage
    has_progress: bool
    progress_size: int
    is_unread: bool


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One compute node, for tests."""

    key: str
    capabilities: Capabilities
    polls: int
    in_flight: int
    lease_ends: tuple[float, ...]
    """Seconds until each lease of its claimed requests ends; negative for an expired one."""
    queue: tuple[Key, ...]
    claimed: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """The whole state at one moment, for tests."""

    requests: Mapping[Key, RequestSnapshot]
    nodes: Mapping[str, NodeSnapshot]
    pending_by_client: Mapping[Key, int]
    tombstones: int
    expiring: int
    """Entries that a sweep ends some day, tombstones too."""
    text: str = field(repr=False, default="")
    """All records as text: a test searches it for secrets that must not be kept."""
