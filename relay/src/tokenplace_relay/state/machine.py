"""The relay's state machine: transitions of nodes, of clients and of time, and its snapshots.

One thread, no I/O and no await in a transition, and a clock that is passed in: of two calls, the
first one wins.
"""

from types import MappingProxyType
from typing import Final

from tokenplace_relay.state.client_transitions import ClientTransitions
from tokenplace_relay.state.model import Node
from tokenplace_relay.state.node_transitions import NodeTransitions
from tokenplace_relay.state.results import (
    Inspection,
    NodeEntry,
    NodeSnapshot,
    RequestSnapshot,
    Stage,
    Totals,
)

_BATCH: Final = 2000
"""Records of a kind that one sweep ends, so that it does not block the event loop for long."""


class StateMachine(NodeTransitions, ClientTransitions):
    """All of the relay's state, in one process."""

    def sweep(self) -> None:
        """Expire requests and leases, evict old records and silent nodes."""
        now = self.now()
        # Deadlines come first, so that a request past its deadline is not queued again because of
        # its expired lease.
        for request in self._deadlines.take_ended(now, _BATCH):
            self.end(request, Stage.EXPIRED, "provider_timeout")
        for request in self._unconfirmed.take_ended(now, _BATCH):
            self.counters.requeued += 1
            request.expired_leases += 1
            self.requeue(request)
        for request in self._unread.take_ended(now, _BATCH):
            self._take_from_unread(request)
            self._evict_request(request)
        for request in self._replays.take_ended(now, _BATCH):
            self.replay_bytes -= request.answer_size
            self._evict_request(request)
        for request in self._outcomes.take_ended(now, _BATCH):
            self._evict_request(request)
        self._tombstones.take_ended(now, _BATCH)
        # Nodes come last, because work that ended above no longer keeps a silent node registered.
        self.evict()

    def node_list(self) -> tuple[NodeEntry, ...]:
        """All registered nodes, in the order of their registration."""
        now = self.now()
        return tuple(_entry(node, now) for node in self.nodes.values())

    def totals(self) -> Totals:
        """Counts, sizes and ages at this moment."""
        now, live, counters = self.now(), list(self.live()), self.counters
        queued = [now - request.created for request in live if request.stage is Stage.QUEUED]
        claimed = [now - request.claimed_at for request in live if request.stage is Stage.CLAIMED]
        nodes = list(self.nodes.values())
        return Totals(
            queued=len(queued),
            claimed=len(claimed),
            oldest_queued_age=max(queued, default=0.0),
            oldest_claimed_age=max(claimed, default=0.0),
            pending=self.pending,
            requests=len(self.requests),
            request_bytes=self.request_bytes,
            unread_bytes=self.unread_bytes,
            replay_bytes=self.replay_bytes,
            progress_bytes=self.progress_bytes,
            nodes=len(nodes),
            healthy_nodes=sum(self.is_fresh(node, now) for node in nodes),
            oldest_node_age=max((now - node.last_seen for node in nodes), default=0.0),
            outcomes=MappingProxyType(dict(counters.outcomes)),
            evictions=MappingProxyType(dict(counters.evictions)),
            controls=MappingProxyType(dict(counters.controls)),
            lease_renewals=counters.lease_renewals,
            requeued=counters.requeued,
        )

    def inspect(self) -> Inspection:
        """Every record at this moment, for tests."""
        now = self.now()
        unread = {key for inbox in self.inboxes.values() for key in inbox.unread}
        requests = {
            key: RequestSnapshot(
                key,
                request.client,
                request.request_id,
                request.node,
                request.stage,
                request.progress is not None,
                request.progress_size,
                key in unread,
            )
            for key, request in self.requests.items()
        }
        return Inspection(
            requests=MappingProxyType(requests),
            nodes=MappingProxyType(
                {key: _inspected(node, now) for key, node in self.nodes.items()}
            ),
            pending_by_client=MappingProxyType(
                {client: inbox.pending for client, inbox in self.inboxes.items()}
            ),
            tombstones=len(self._tombstones),
            expiring=sum(map(len, self._all_expiring())),
        )

    @property
    def watched_moments(self) -> int:
        """Moments at which time alone changes a node's place in the selection."""
        return self._index.watched_moments

    def text(self) -> str:
        """All records as text, for tests that search it for secrets."""
        return repr((self.nodes, self.requests, self.inboxes, list(self._tombstones)))


def _entry(node: Node, now: float) -> NodeEntry:
    return NodeEntry(
        node.key,
        node.capabilities,
        max(0.0, now - node.last_seen),
        len(node.queue),
        node.in_flight(now),
        node.load(now),
    )


def _inspected(node: Node, now: float) -> NodeSnapshot:
    return NodeSnapshot(
        node.key,
        node.capabilities,
        node.polls,
        node.in_flight(now),
        tuple(request.lease_end - now for request in node.claimed.values()),
        tuple(node.queue),
        tuple(node.claimed),
    )
