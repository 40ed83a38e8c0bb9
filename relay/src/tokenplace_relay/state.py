"""The things that the relay remembers, and what its transitions answer; plain data."""

import hashlib
import hmac
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tokenplace_relay.capabilities import Capabilities

Envelope = dict[str, Any]
RequestKey = tuple[str, str]
"""Client public key and request id."""


class Stage(StrEnum):
    """Where a request is. The last three are terminal: nothing leaves them."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    ANSWERED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_live(self) -> bool:
        """Whether the request still waits for its answer."""
        return self in (Stage.QUEUED, Stage.CLAIMED)


@dataclass(slots=True, eq=False)
class Request:
    """One request of one client to one compute node; times are on the monotonic clock."""

    key: RequestKey
    node: str
    envelope: Envelope
    size: int
    created: float
    deadline: float
    cancel_digest: str
    has_id: bool = True
    stage: Stage = Stage.QUEUED
    claimed_at: float = 0.0
    lease_end: float = 0.0
    owner_digest: str = ""
    """Of the credential of the node that claimed it."""
    answer: Envelope | None = None
    answer_size: int = 0
    was_read: bool = False
    reason: str = ""
    forget_at: float = 0.0
    """When a terminal request is forgotten."""


@dataclass(slots=True, eq=False)
class Node:
    """One registered compute node."""

    key: str
    capabilities: Capabilities
    credential_digest: str
    last_seen: float
    polls: int = 0
    """Polls held right now."""
    queue: deque[Request] = field(default_factory=deque)
    claimed: dict[RequestKey, Request] = field(default_factory=dict)

    def load(self, now: float) -> float:
        """Queued and counted work per place, as selection compares it."""
        busy = len(self.queue) + self.in_flight(now)
        return round(busy / self.capabilities.concurrency, 6)

    def in_flight(self, now: float) -> int:
        """Claimed work whose accounting lease has not lapsed."""
        return sum(1 for one in self.claimed.values() if one.lease_end > now)


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a node is told of work that was taken from it."""

    status: Stage
    owner_digest: str
    deadline: float
    forget_at: float


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that is not answered yet; seconds until its deadline."""

    remaining: float


@dataclass(frozen=True, slots=True)
class Control:
    """The answer to a control call; remaining is None when no deadline is known."""

    status: str
    remaining: float | None = None


@dataclass(slots=True)
class Counters:
    """What happened since the start; metrics read them."""

    outcomes: dict[str, int] = field(default_factory=dict)
    evictions: dict[str, int] = field(default_factory=dict)
    controls: dict[str, int] = field(default_factory=dict)
    lease_renewals: int = 0

    @staticmethod
    def add(table: dict[str, int], name: str) -> None:
        """Count one more."""
        table[name] = table.get(name, 0) + 1


class Full(Exception):  # noqa: N818 (it is a state, not a fault)
    """A bound is reached; status is 429 for the client's own doing, 503 for the relay's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class UnknownNode(LookupError):  # noqa: N818
    """No such compute node is registered."""


class UnknownRequest(LookupError):  # noqa: N818
    """No such request is known, or not any more."""


class WrongProof(PermissionError):  # noqa: N818
    """A credential or cancel token is missing or wrong."""


class Finished(Exception):  # noqa: N818
    """The request has ended: cancelled, expired, or completed and read."""

    def __init__(self, status: Stage, reason: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


def digest(secret: str) -> str:
    """What is kept instead of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def proves(secret: str, kept: str) -> bool:
    """Whether a secret is the one whose digest was kept, in constant time; '' proves nothing."""
    return bool(secret) and bool(kept) and hmac.compare_digest(digest(secret), kept)
