"""All relay state: nodes, requests, byte accounting; and how a request ends.

The transitions of nodes, of clients and of time are built on it; none has I/O or await. A request
goes queued -> claimed -> answered, or queued/claimed -> cancelled | expired, and only `end` moves
it into a terminal stage. It is in exactly one place: a node's queue or claims while it is live,
then its client's inbox until it is read, then in the replays or outcomes until it is evicted.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import chain, count

from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.digests import Key
from tokenplace_relay.state.errors import Full, UnknownNode
from tokenplace_relay.state.expiring import ExpiringMap
from tokenplace_relay.state.model import ClientInbox, Counters, Node, Request, Tombstone
from tokenplace_relay.state.node_index import NodeIndex
from tokenplace_relay.state.results import Stage

WakeNode = Callable[[str], None]
"""Called with the key of a node that has work or was removed: wakes one of its held polls."""
WakeReaders = Callable[[Key], None]
"""Called with the key of a request that changed: wakes all of its held retrieves."""


class StateTables:
    """Records by key, their order in time, and sums that bound them."""

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float],
        wake_node: WakeNode,
        wake_readers: WakeReaders,
    ) -> None:
        self._config = config
        self._clock = clock
        self._last = clock()
        self._wake_node = wake_node
        self._wake_readers = wake_readers
        self.nodes: dict[str, Node] = {}
        self.requests: dict[Key, Request] = {}
        self.inboxes: dict[Key, ClientInbox] = {}
        self.counters = Counters()
        self.pending = 0
        """Requests that are unanswered, or answered and not read."""
        self.request_bytes = 0
        self.unread_bytes = 0
        self.replay_bytes = 0
        self.progress_bytes = 0
        self._numbers = count(1)
        self._index = NodeIndex(self.is_fresh, config.node_lease, config.max_queue_depth)
        self._changed = self._index.changed
        self._deadlines: ExpiringMap[Key, Request] = ExpiringMap(config.request_deadline)
        self._unconfirmed: ExpiringMap[Key, Request] = ExpiringMap(config.in_flight_lease)
        self._unread: ExpiringMap[Key, Request] = ExpiringMap(config.answer_ttl)
        self._replays: ExpiringMap[Key, Request] = ExpiringMap(config.answer_ttl)
        self._outcomes: ExpiringMap[Key, Request] = ExpiringMap(config.terminal_ttl)
        self._tombstones: ExpiringMap[tuple[str, str], Tombstone] = ExpiringMap(
            config.tombstone_ttl
        )

    def _all_expiring(self) -> Iterable[Sized]:
        return (
            self._deadlines,
            self._unconfirmed,
            self._unread,
            self._replays,
            self._outcomes,
            self._tombstones,
        )

    def now(self) -> float:
        """Seconds on the state's clock, which never goes back."""
        # A clock that goes back would break the order of the expiring maps.
        if (now := self._clock()) > self._last:
            self._last = now
        return self._last

    def live(self) -> Iterator[Request]:
        """Requests that are queued or claimed, the oldest first."""
        return iter(self._deadlines)

    def is_fresh(self, node: Node, now: float) -> bool:
        """Whether clients are sent to the node: it holds a poll, or called within its lease."""
        return node.polls > 0 or now - node.last_seen <= self._config.node_lease

    def is_unresponsive(self, node: Node, now: float) -> bool:
        """Whether the node is silent past the grace period, so that its queue must be cancelled."""
        silence = now - node.last_seen
        return node.polls == 0 and silence > self._config.node_lease + self._config.silent_grace

    def has_abandoned_work(self, node: Node, now: float) -> bool:
        """Whether the node sent control calls for its work, and then stopped calling.

        A node that never sent one may only be slow: a desktop serves several relays in turn.
        """
        silence = now - node.last_seen
        if node.polls or silence <= self._config.node_lease + self._config.working_grace:
            return False
        return any(
            request.is_confirmed for request in chain(node.claimed.values(), node.queue.values())
        )

    def is_removable(self, node: Node, now: float) -> bool:
        """Whether the node can be removed: silent, and without work that it may still finish."""
        if self.is_fresh(node, now):
            return False
        if self.has_abandoned_work(node, now):
            return True
        # A node may not poll while it computes, so claimed work keeps a silent node registered.
        if node.claimed:
            return False
        # Work whose lease expired is queued again, but its node may still answer it.
        if any(request.claimed_at for request in node.queue.values()):
            return False
        return not node.queue or self.is_unresponsive(node, now)

    def node(self, key: str) -> Node:
        """A registered node; raises UnknownNode."""
        try:
            return self.nodes[key]
        except KeyError:
            raise UnknownNode from None

    def remove(self, node: Node, reason: str) -> None:
        """Remove a node; all of its work ends as cancelled."""
        del self.nodes[node.key]
        self._index.remove(node)
        self.counters.add(self.counters.evictions, reason)
        # The node is out of the tables by now, so its requests get it as an argument.
        self.cancel_all(node, [*node.queue.values(), *node.claimed.values()])
        # Each held poll must end with 404 now, which makes the node register again.
        for _ in range(node.polls):
            self._wake_node(node.key)

    def evict(self) -> None:
        """Remove silent nodes, and cancel the queues of unresponsive ones."""
        now = self.now()
        for node in self._index.stale(now):
            if self.is_removable(node, now):
                self.remove(node, "stale_lease")
            elif node.queue and self.is_unresponsive(node, now):
                # Work that was claimed before stays, because its node may still answer it.
                self.cancel_all(
                    node, [request for request in node.queue.values() if not request.claimed_at]
                )

    def cancel_all(self, node: Node, requests: list[Request]) -> None:
        """Cancel requests of a node, so that their clients choose another one."""
        for request in requests:
            self.end(request, Stage.CANCELLED, "server_unregistered", node=node)

    def current(self, key: Key, reason: str = "provider_timeout") -> Request | None:
        """A request after its deadline was checked: a late one is expired first."""
        request = self.requests.get(key)
        if request is not None and request.stage.is_live and request.deadline <= self.now():
            self.end(request, Stage.EXPIRED, reason)
        return request

    def enqueue(self, request: Request) -> None:
        """Record a new request and queue it at its node."""
        inbox = self.inboxes.setdefault(request.client, ClientInbox())
        inbox.live += 1
        inbox.live_bytes += request.size
        if not request.request_id:
            inbox.anonymous[request.key] = request
        self.pending += 1
        self.request_bytes += request.size
        self.requests[request.key] = request
        self._deadlines.put(request.key, request, request.created)
        node = self.nodes[request.node]
        node.queue[request.key] = request
        self._changed.add(node)
        self._wake_node(request.node)

    def requeue(self, request: Request) -> None:
        """Put a claimed request back as the first of its queue."""
        node = self.nodes[request.node]
        del node.claimed[request.key]
        self._unconfirmed.drop(request.key)
        request.stage = Stage.QUEUED
        node.queue[request.key] = request
        # It has waited longest already, and its deadline does not move.
        node.queue.move_to_end(request.key, last=False)
        self._changed.add(node)
        # Another poll of the node may be held, and can take the request at once.
        self._wake_node(node.key)

    def end(
        self, request: Request, stage: Stage, reason: str = "", node: Node | None = None
    ) -> None:
        """Move a request into a terminal stage; node is given while that node is being removed."""
        now = self.now()
        node = node or self.nodes[request.node]
        # Only work that a node has received, and can name, can be asked about in a control call.
        if request.claimed_at and request.request_id and stage is not Stage.ANSWERED:
            self._add_tombstone(request, node, stage, now)
        node.queue.pop(request.key, None)
        node.claimed.pop(request.key, None)
        self._changed.add(node)
        self._deadlines.drop(request.key)
        self._unconfirmed.drop(request.key)
        self.drop_progress(request)
        self.request_bytes -= request.size
        # The envelope takes most of the memory; the rest of the record stays to answer repeats.
        request.envelope = {}
        request.stage, request.reason = stage, reason
        inbox = self.inboxes[request.client]
        inbox.live -= 1
        inbox.live_bytes -= request.size
        inbox.anonymous.pop(request.key, None)
        if stage is Stage.ANSWERED:
            inbox.unread[request.key] = request
            self._unread.put(request.key, request, now)
        else:
            self._close(request)
            self._add_outcome(request, now)
        # token.place's metric does not count requests without an id.
        if request.request_id:
            self.counters.add(self.counters.outcomes, _outcome(stage, reason))
        self._wake_readers(request.key)

    def mark_read(self, request: Request) -> None:
        """Move an answer that was read for the first time to the replays."""
        inbox = self.inboxes.get(request.client)
        if inbox is None or request.key not in inbox.unread:
            return
        self._take_from_unread(request)
        self._replays.put(request.key, request, self.now())
        self.replay_bytes += request.answer_size
        # An answer that was read is kept only for a client that lost it, so the oldest may go.
        most, most_bytes = self._config.max_replays, self._config.max_replay_bytes
        while len(self._replays) > most or self.replay_bytes > most_bytes:
            self._end_replay(self._replays.take_oldest())

    def end_replay(self, request: Request) -> None:
        """Drop an answer before its time to live is over."""
        if request.answer is not None:
            self._replays.drop(request.key)
            self._end_replay(request)

    def drop_progress(self, request: Request) -> None:
        """Drop the progress of a request."""
        self.progress_bytes -= request.progress_size
        request.progress, request.progress_size = None, 0

    def check_bytes(self, held: int, size: int, limit: int, what: str) -> None:
        """Raise Full when `size` more bytes do not fit."""
        if held + size > limit:
            raise Full(503, "relay_full", f"This relay has no memory for more {what}")

    def _add_tombstone(self, request: Request, node: Node, stage: Stage, now: float) -> None:
        stone = Tombstone(stage, node.credential_digest, request.deadline)
        self._tombstones.put((node.key, request.request_id), stone, now)
        # Without its tombstone a control call reports completed/unavailable, which stops the node
        # too.
        if len(self._tombstones) > self._config.max_outcomes:
            self._tombstones.take_oldest()

    def _add_outcome(self, request: Request, now: float) -> None:
        self._outcomes.put(request.key, request, now)
        if len(self._outcomes) > self._config.max_outcomes:
            self._evict_request(self._outcomes.take_oldest())

    def _take_from_unread(self, request: Request) -> None:
        del self.inboxes[request.client].unread[request.key]
        self._unread.drop(request.key)
        self.unread_bytes -= request.answer_size
        self._close(request)

    def _end_replay(self, request: Request) -> None:
        """Drop a read answer, and keep its request as an outcome."""
        self.replay_bytes -= request.answer_size
        request.answer, request.answer_size = None, 0
        self._add_outcome(request, self.now())

    def _close(self, request: Request) -> None:
        """Count a request as over; drop its client's inbox after the last one."""
        self.pending -= 1
        inbox = self.inboxes[request.client]
        # Clients make a new key for each session, so empty inboxes would pile up.
        if not inbox.pending:
            del self.inboxes[request.client]

    def _evict_request(self, request: Request) -> None:
        request.answer = None
        del self.requests[request.key]


def _outcome(stage: Stage, reason: str) -> str:
    if reason in {"provider_timeout", "pending_request_ttl_exceeded"}:
        return "timed_out"
    return str(stage)
