"""Records of the state machine: mutable, on the machine's clock, and private to it."""

import hmac
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf

from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import Key, proves
from tokenplace_relay.state.results import Envelope, Proof, Stage


@dataclass(slots=True, eq=False)
class Request:
    """One request of one client to one compute node."""

    key: Key
    client: Key
    request_id: str
    """'' for an anonymous request, whose answer can only be read without an id."""
    node: str
    envelope: Envelope
    size: int
    """Bytes of its envelope."""
    created: float
    deadline: float
    cancel_digest: bytes
    reader_digest: bytes = b""
    """Digest of the token that its answer is retrieved with; b'' when none is required."""
    stage: Stage = Stage.QUEUED
    claimed_at: float = 0.0
    """When it was first handed to its node, 0 when it never was."""
    lease_end: float = 0.0
    progress: Envelope | None = None
    progress_size: int = 0
    answer: Envelope | None = None
    answer_size: int = 0
    reason: str = ""
    fencing_token: int = 0
    """Rises with each claim and renewal, so that an undo of an older one changes nothing."""
    expired_leases: int = 0
    """Claims whose lease ended without a control call."""
    is_confirmed: bool = False
    """Whether its node sent a control call for it, as running nodes do every few seconds."""


@dataclass(slots=True, eq=False)
class Node:
    """One registered compute node."""

    key: str
    capabilities: Capabilities
    credential_digest: bytes
    last_seen: float
    token: bytes = b""
    """Digest of the registration token that it registered with."""
    selection_turn: int = 0
    """Number of its last selection: of equal nodes, the lowest has waited longest."""
    polls: int = 0
    """Polls that are held now."""
    has_polled: bool = False
    """Whether it ever polled: then it received the answer to its registration."""
    has_sent_control: bool = False
    """Whether it sent a control call with its credential since it last registered."""
    requires_proof: set[str] = field(default_factory=set)
    """Calls in which it once showed its credential; from then on it must."""
    queue: OrderedDict[Key, Request] = field(default_factory=OrderedDict)
    claimed: dict[Key, Request] = field(default_factory=dict)
    first_lease_end: float = inf
    """No lease of its claimed requests ends before this."""

    def load(self, now: float) -> float:
        """Queued and claimed requests per place."""
        return per_place(len(self.queue) + self.in_flight(now), self.capabilities)

    def in_flight(self, now: float) -> int:
        """Claimed requests whose lease has not expired."""
        # Selection calls this often, so leases are scanned only when one of them can have expired.
        if now < self.first_lease_end:
            return len(self.claimed)
        ends = [request.lease_end for request in self.claimed.values()]
        self.first_lease_end = min(ends, default=inf)
        return sum(end > now for end in ends)

    def next_lease_end(self, now: float) -> float:
        """When `in_flight` changes by time alone; infinity when it does not."""
        if now < self.first_lease_end:
            return self.first_lease_end
        ends = (request.lease_end for request in self.claimed.values())
        return min((end for end in ends if end > now), default=inf)

    def is_proven_by(self, proof: Proof, call: str) -> bool:
        """Whether a proof is this node's: its credential, or else its registration token."""
        # Many nodes may share a registration token, so it does not replace a credential that the
        # node has shown in this call before.
        if proof.credential or call in self.requires_proof:
            return proves(proof.credential, self.credential_digest)
        return self.has_token(proof.token)

    def has_token(self, token: bytes) -> bool:
        """Whether it registered with this token digest, in constant time."""
        # On a relay without tokens both are b'', and every caller passes, as with token.place
        # relay.py.
        return hmac.compare_digest(token, self.token)


@dataclass(slots=True, eq=False)
class ClientInbox:
    """Requests and answers of one client."""

    live: int = 0
    """Requests that are queued or claimed."""
    live_bytes: int = 0
    """Bytes of those requests."""
    anonymous: OrderedDict[Key, Request] = field(default_factory=OrderedDict)
    """Live requests without an id, the oldest first."""
    unread: OrderedDict[Key, Request] = field(default_factory=OrderedDict)
    """Answered requests that were not read, the oldest first."""

    @property
    def pending(self) -> int:
        """Requests that are unanswered, or answered and not read."""
        return self.live + len(self.unread)

    @property
    def weight(self) -> int:
        """Bytes of live requests and unread answers."""
        return self.live_bytes + sum(request.answer_size for request in self.unread.values())


@dataclass(frozen=True, slots=True)
class Tombstone:
    """The end of a request, for a node that sends a control call after it lost the claim."""

    status: Stage
    owner_digest: bytes
    deadline: float


@dataclass(slots=True)
class Counters:
    """Events since the start, for metrics."""

    outcomes: dict[str, int] = field(default_factory=dict)
    evictions: dict[str, int] = field(default_factory=dict)
    controls: dict[str, int] = field(default_factory=dict)
    lease_renewals: int = 0
    requeued: int = 0
    """Claims that were never confirmed, so that the request was queued again."""

    @staticmethod
    def add(table: dict[str, int], name: str) -> None:
        """Count one more."""
        table[name] = table.get(name, 0) + 1


def per_place(busy: int, capabilities: Capabilities) -> float:
    """Requests per place of a node, rounded as selection compares it."""
    # token.place relay.py compares loads at six decimal places.
    return round(busy / capabilities.concurrency, 6)
