"""The seam between the relay's handlers and its state.

Handlers use only this protocol, so that a second backend can take the place of MemoryState.
Results are frozen and durations are in seconds; no object of the state leaves it. Secrets enter
as digests. Holding a call and waking it happen behind the seam, because each backend wakes in its
own way. Each call may raise StateUnreachable.
"""

from typing import Protocol

from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import Key
from tokenplace_relay.state.results import (
    Answer,
    Cancellation,
    Choice,
    Control,
    Envelope,
    Health,
    Inspection,
    NodeEntry,
    Owed,
    Pending,
    Proof,
    Stage,
    Totals,
    Work,
)


class State(Protocol):
    """Nodes, requests and byte accounting of one relay."""

    # Compute nodes

    async def register(
        self, key: str, capabilities: Capabilities, proof: Proof, credential: bytes
    ) -> bool:
        """Add or renew a node; True when the new credential is now the node's.

        An existing credential stays once the node has polled: then it has received it. Raises
        Full, and WrongProof for a renewal by another peer.
        """

    async def unregister(self, key: str, credential: bytes) -> bool:
        """Remove a node on its own request; False when it was not there. Raises WrongProof."""

    async def expel(self, key: str) -> bool:
        """Remove a node on the operator's request; False when it was not there."""

    async def next_work(
        self, key: str, capabilities: Capabilities | None, proof: Proof, hold: float
    ) -> Work | None:
        """Claim the oldest request of a node's queue; wait up to `hold` seconds for one.

        Raises UnknownNode, WrongProof, and Full when too many polls are held.
        """

    async def unclaim(self, work: Work) -> None:
        """Put work back that could not be delivered, unless it was claimed again or renewed."""

    async def control(
        self, key: str, request_id: str, credential: bytes, *, acknowledge: bool
    ) -> Control:
        """Renew the lease of claimed work, or return its end. Raises WrongProof."""

    async def owns(self, key: str, request_id: str, credential: bytes) -> bool:
        """Whether a credential is the node's, or that of the node that once had the request."""

    async def progress(
        self,
        key: str,
        client: Key,
        request_id: str,
        *,
        credential: bytes,
        progress: Envelope,
        size: int,
    ) -> bool:
        """Keep the newest progress of claimed work; True when it replaced an older one.

        size is in bytes. Raises WrongProof, NotActive, Finished and Full.
        """

    async def answer(
        self, client: Key, request_id: str, envelope: Envelope, size: int, proof: Proof
    ) -> bool:
        """Take the answer to a request; False when an unread one is there already.

        size is in bytes. Raises UnknownRequest, Finished, WrongProof and Full.
        """

    # Clients

    async def select(self, model: str, tier: str) -> Choice:
        """Choose a node for a resolved model and a context tier; reserves nothing."""

    async def submit(
        self,
        client: Key,
        request_id: str,
        node: str,
        envelope: Envelope,
        *,
        size: int,
        cancel_token: bytes,
        reader: bytes,
    ) -> float:
        """Queue a request once per id; return the seconds until its deadline.

        size is in bytes; cancel_token and reader are digests or b''. Raises UnknownNode, Full,
        and Finished for a repeat of a request that ended without an answer.
        """

    async def cancel(
        self, client: Key, request_id: str, cancel_token: bytes, stage: Stage, reason: str
    ) -> Cancellation:
        """End a live request as cancelled or expired. Raises WrongProof, also when answered."""

    async def retrieve(
        self, client: Key, request_id: str, reader: bytes, *, hold: float, room: int | None
    ) -> Answer | Pending:
        """The answer, or the progress after waiting up to `hold` seconds for a change.

        room is the bytes that the answer's body may have, None for any. Raises UnknownRequest,
        WrongProof, Finished and TooLarge.
        """

    async def retrieve_any(self, client: Key, *, room: int | None) -> Envelope:
        """The oldest unread answer of a client that needs no proof.

        Raises UnknownRequest and TooLarge.
        """

    async def await_answer(self, client: Key, request_id: str, reader: bytes) -> Envelope:
        """Wait for the answer until the deadline of its request; `release` does not end it.

        Raises UnknownRequest, WrongProof and Finished.
        """

    async def acknowledge(self, client: Key, request_id: str, reader: bytes) -> None:
        """Drop an answer that has arrived. Raises UnknownRequest, WrongProof and Finished."""

    # Snapshots

    async def node_list(self) -> tuple[NodeEntry, ...]:
        """All registered nodes; at most 1 s old, and never with a wrong set of nodes."""

    async def totals(self) -> Totals:
        """Counts, sizes and ages for metrics."""

    async def inspect(self) -> Inspection:
        """The whole state, for tests."""

    @property
    def held_polls(self) -> int:
        """Polls that this process holds."""

    @property
    def held_retrieves(self) -> int:
        """Retrieves that this process holds, those of the facade too."""

    # Lifecycle

    async def open(self) -> None:
        """Connect; called once before the first request."""

    async def close(self) -> None:
        """Disconnect; called once after the last request."""

    async def sweep(self) -> None:
        """Expire requests and leases, evict silent nodes and old records; called by a timer."""

    async def release(self) -> None:
        """End held calls, a few per turn of the event loop, and hold none from now on."""

    async def owed(self) -> Owed:
        """The requests and calls that this process must finish before it may stop."""

    async def health(self) -> Health:
        """Whether the backend can be reached."""
