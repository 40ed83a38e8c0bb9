"""The things that the relay remembers, and what its transitions answer; plain data."""

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from math import inf
from typing import Any

from tokenplace_relay.state.capabilities import Capabilities

Envelope = dict[str, Any]
Key = bytes
"""Digest of a client's public key, or of that and a request id: short, and says nothing."""


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


@dataclass(frozen=True, slots=True)
class Proof:
    """What a peer shows to be a certain node; today's peers show only their registration token."""

    credential: str = field(default="", repr=False)
    token: bytes = b""
    """Digest of the registration token it came with; b'' where none is asked for."""


@dataclass(slots=True, eq=False)
class Request:
    """One request of one client to one compute node; times are on the monotonic clock."""

    key: Key
    client: Key
    request_id: str
    """'' when the client gave none; then its answer can only be read without one, too."""
    node: str
    envelope: Envelope
    size: int
    created: float
    deadline: float
    cancel_digest: bytes
    reader_digest: bytes = b""
    """Digest of what its answer is retrieved with; b'' where its client knows of no such thing."""
    stage: Stage = Stage.QUEUED
    claimed_at: float = 0.0
    """When it was handed to its node, 0 when it never was."""
    lease_end: float = 0.0
    progress: Envelope | None = None
    progress_size: int = 0
    answer: Envelope | None = None
    answer_size: int = 0
    reason: str = ""
    fencing_token: int = 0
    """Rises each time that it is handed out or renewed: to undo an older hand-out is too late."""
    expired_leases: int = 0
    """Times that it was handed out, and nothing was heard of it within its lease."""
    is_confirmed: bool = False
    """Whether its node did so, as all nodes do every few seconds while they work."""


@dataclass(slots=True, eq=False)
class Node:
    """One registered compute node."""

    key: str
    capabilities: Capabilities
    credential_digest: bytes
    last_seen: float
    token: bytes = b""
    """Digest of the registration token it registered with."""
    selection_turn: int = 0
    """Rises with each selection: of equals, the one with the lowest has waited longest."""
    polls: int = 0
    """Polls held right now."""
    has_polled: bool = False
    """Whether it ever did: then it had the answer to its registration."""
    has_sent_control: bool = False
    """Whether it asked about work with its credential since it last registered."""
    requires_proof: set[str] = field(default_factory=set)
    """Calls in which it once showed its credential, where today's nodes do not: there it must."""
    queue: OrderedDict[Key, Request] = field(default_factory=OrderedDict)
    claimed: dict[Key, Request] = field(default_factory=dict)
    first_lease_end: float = inf
    """No lease of what it claimed ends before this."""

    def load(self, now: float) -> float:
        """Queued and counted work per place, as selection compares it."""
        return per_place(len(self.queue) + self.in_flight(now), self.capabilities)

    def in_flight(self, now: float) -> int:
        """Claimed work whose accounting lease has not lapsed."""
        if now < self.first_lease_end:
            return len(self.claimed)
        ends = [one.lease_end for one in self.claimed.values()]
        self.first_lease_end = min(ends, default=inf)
        return sum(end > now for end in ends)

    def is_proven_by(self, proof: Proof, call: str) -> bool:
        """Whether a proof is this node's: its credential, else the token it registered with."""
        if proof.credential or call in self.requires_proof:
            return proves(proof.credential, self.credential_digest)
        return self.has_token(proof.token)

    def has_token(self, token: bytes) -> bool:
        """Whether it registered with this token, in constant time."""
        return hmac.compare_digest(token, self.token)


@dataclass(slots=True, eq=False)
class ClientInbox:
    """What one client has here."""

    live: int = 0
    """Requests that are queued or claimed."""
    live_bytes: int = 0
    """Their size."""
    anonymous: OrderedDict[Key, Request] = field(default_factory=OrderedDict)
    """Those of them without an id, the oldest first."""
    unread: OrderedDict[Key, Request] = field(default_factory=OrderedDict)
    """Answered requests that were not read, the oldest first."""

    @property
    def pending(self) -> int:
        """Requests that are not over for the client."""
        return self.live + len(self.unread)

    @property
    def weight(self) -> int:
        """Bytes that are kept for the client: what it asked, and answers that it did not read."""
        return self.live_bytes + sum(one.answer_size for one in self.unread.values())


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a node is told of work that was taken from it."""

    status: Stage
    owner_digest: bytes
    deadline: float


@dataclass(frozen=True, slots=True)
class Pending:
    """A request that is not answered yet: seconds until its deadline, and progress of its node."""

    remaining: float
    progress: Envelope | None = None


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
    requeued: int = 0
    """Work that was handed out, never confirmed, and so handed out again."""

    @staticmethod
    def add(table: dict[str, int], name: str) -> None:
        """Count one more."""
        table[name] = table.get(name, 0) + 1


class StateError(Exception):
    """A transition was refused; api/errors.py has its HTTP answer."""


class Full(StateError):
    """A bound is reached: status 429 for a bound of the client, 503 for one of the relay."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class UnknownNode(StateError):
    """No such compute node is registered."""


class UnknownRequest(StateError):
    """No such request is known, or it was evicted."""


class WrongProof(StateError):
    """A credential or cancel token is missing or wrong."""


class NotActive(StateError):
    """The request is not claimed by this node."""


class Finished(StateError):
    """The request has ended: cancelled, expired, or completed and read."""

    def __init__(self, status: Stage, reason: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.reason = reason


class StateUnreachable(StateError):
    """The backend of the state cannot be reached; the call may be repeated."""


def per_place(busy: int, able: Capabilities) -> float:
    """Work per place, as far as it is told and compared."""
    return round(busy / able.concurrency, 6)


def digest(secret: str) -> bytes:
    """What is kept instead of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


@lru_cache(maxsize=4096)
def request_key(client: Key, request_id: str) -> Key:
    """The name of a request: ids are the client's own. Five calls ask for it within seconds."""
    return hashlib.sha256(client + request_id.encode("utf-8", "surrogatepass")).digest()


def proves(secret: str, kept: bytes) -> bool:
    """Whether a secret is the one whose digest was kept, in constant time; '' proves nothing."""
    return bool(secret) and hmac.compare_digest(digest(secret), kept)
