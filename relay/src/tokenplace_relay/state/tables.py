"""The books of the relay: who is here, what is under way, what it weighs, how a request ends.

The moves of nodes, of clients and of time are built on it; none has I/O or await. A request goes
queued -> claimed -> answered, or queued/claimed -> cancelled | expired, and `end` is the one way
into an end. It lies in exactly one place: a node's queue or claims while it is live, then its
client's inbox until it is read, then among the replays or outcomes until it is forgotten.
"""

from collections.abc import Callable, Iterator
from itertools import chain, count

from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.expiring import ExpiringMap
from tokenplace_relay.state.model import (
    ClientInbox,
    Counters,
    Full,
    Key,
    Node,
    Request,
    Stage,
    Tombstone,
    UnknownNode,
)

WakeNode = Callable[[str], None]
"""Told the key of a node that has work, or is gone: one of its held polls should look again."""
WakeReaders = Callable[[Key], None]
"""Told the key of a request that has progress: its held retrieves should look again."""


class StateTables:
    """All of the relay's state, in one process."""

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
        """Requests that are not over: unanswered, or answered and not read."""
        self.request_bytes = 0
        self.unread_bytes = 0
        self.replay_bytes = 0
        self.progress_bytes = 0
        self._numbers = count(1)
        self._deadlines: ExpiringMap[Key, Request] = ExpiringMap(config.request_deadline)
        self._unconfirmed: ExpiringMap[Key, Request] = ExpiringMap(config.in_flight_lease)
        self._unread: ExpiringMap[Key, Request] = ExpiringMap(config.answer_ttl)
        self._replays: ExpiringMap[Key, Request] = ExpiringMap(config.answer_ttl)
        self._outcomes: ExpiringMap[Key, Request] = ExpiringMap(config.terminal_ttl)
        self._tombstones: ExpiringMap[tuple[str, str], Tombstone] = ExpiringMap(
            config.tombstone_ttl
        )

    def now(self) -> float:
        """The time on the state's clock, which never goes back."""
        if (now := self._clock()) > self._last:
            self._last = now
        return self._last

    def live(self) -> Iterator[Request]:
        """Requests that are queued or claimed, the oldest first."""
        return iter(self._deadlines)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was accepted still waits to be answered or read."""
        return not self.pending

    @property
    def answer_bytes(self) -> int:
        """Size of the answers that are kept."""
        return self.unread_bytes + self.replay_bytes

    def is_healthy(self, node: Node) -> bool:
        """Whether clients are sent to this node."""
        return self.is_fresh(node, self.now())

    def is_fresh(self, node: Node, now: float) -> bool:
        """Whether the node polls right now, or gave a sign of life within its lease."""
        return node.polls > 0 or now - node.last_seen <= self._config.node_lease

    def is_unresponsive(self, node: Node, now: float) -> bool:
        """Whether the node is silent for so long that what is queued for it should go elsewhere."""
        silence = now - node.last_seen
        return node.polls == 0 and silence > self._config.node_lease + self._config.silent_grace

    def has_abandoned_work(self, node: Node, now: float) -> bool:
        """Whether the node asked about its work, and is silent for too long to be still at it.

        One that never asked may be waiting for its turn: a desktop serves several relays.
        """
        silence = now - node.last_seen
        if node.polls or silence <= self._config.node_lease + self._config.working_grace:
            return False
        return any(one.is_confirmed for one in chain(node.claimed.values(), node.queue.values()))

    def is_removable(self, node: Node, now: float) -> bool:
        """Whether the node can be removed: silent, and without work that it may still do."""
        if self.is_fresh(node, now):
            return False
        if self.has_abandoned_work(node, now):
            return True
        if node.claimed:
            return False
        # What was handed out, and put back because nothing was heard of it, may still be done.
        if any(request.claimed_at for request in node.queue.values()):
            return False
        return not node.queue or self.is_unresponsive(node, now)

    def node(self, key: str) -> Node:
        """A registered node; raises UnknownNode."""
        try:
            return self.nodes[key]
        except KeyError:
            raise UnknownNode from None

    def remove(self, node: Node, why: str) -> None:
        """Drop a node; all of its work ends as cancelled."""
        del self.nodes[node.key]
        self.counters.add(self.counters.evictions, why)
        self.cancel_all(node, [*node.queue.values(), *node.claimed.values()])
        for _ in range(node.polls):
            self._wake_node(node.key)

    def evict(self) -> None:
        """Drop silent nodes, and queues that nobody will come for."""
        now = self.now()
        for node in [one for one in self.nodes.values() if not self.is_fresh(one, now)]:
            if self.is_removable(node, now):
                self.remove(node, "stale_lease")
            elif node.queue and self.is_unresponsive(node, now):
                self.cancel_all(node, [one for one in node.queue.values() if not one.claimed_at])

    def cancel_all(self, node: Node, requests: list[Request]) -> None:
        """Cancel work of a node that will not do it, so that its clients look for another."""
        for request in requests:
            self.end(request, Stage.CANCELLED, "server_unregistered", node=node)

    def current(self, key: Key, reason: str = "provider_timeout") -> Request | None:
        """A request as it stands now: one whose deadline has passed is expired first."""
        request = self.requests.get(key)
        if request is not None and request.stage.is_live and request.deadline <= self.now():
            self.end(request, Stage.EXPIRED, reason)
        return request

    def enqueue(self, request: Request) -> None:
        """Write down a new request and queue it."""
        inbox = self.inboxes.setdefault(request.client, ClientInbox())
        inbox.live += 1
        inbox.live_bytes += request.size
        if not request.request_id:
            inbox.anonymous[request.key] = request
        self.pending += 1
        self.request_bytes += request.size
        self.requests[request.key] = request
        self._deadlines.put(request.key, request, request.created)
        self.nodes[request.node].queue[request.key] = request
        self._wake_node(request.node)

    def requeue(self, request: Request) -> None:
        """Put claimed work back: it is the next to be claimed again."""
        node = self.nodes[request.node]
        del node.claimed[request.key]
        self._unconfirmed.drop(request.key)
        request.stage = Stage.QUEUED
        node.queue[request.key] = request
        node.queue.move_to_end(request.key, last=False)
        self._wake_node(node.key)

    def end(
        self, request: Request, stage: Stage, reason: str = "", node: Node | None = None
    ) -> None:
        """The one way into a terminal stage; node is its node, when that is being removed."""
        now = self.now()
        node = node or self.nodes[request.node]
        if request.claimed_at and request.request_id and stage is not Stage.ANSWERED:
            self._add_tombstone(request, node, stage, now)
        node.queue.pop(request.key, None)
        node.claimed.pop(request.key, None)
        self._deadlines.drop(request.key)
        self._unconfirmed.drop(request.key)
        self.drop_progress(request)
        self.request_bytes -= request.size
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
        most, most_bytes = self._config.max_replays, self._config.max_replay_bytes
        while len(self._replays) > most or self.replay_bytes > most_bytes:
            self._end_replay(self._replays.take_oldest())

    def end_replay(self, request: Request) -> None:
        """Let go of an answer before its time."""
        if request.answer is not None:
            self._replays.drop(request.key)
            self._end_replay(request)

    def drop_progress(self, request: Request) -> None:
        """Forget the progress of a request."""
        self.progress_bytes -= request.progress_size
        request.progress, request.progress_size = None, 0

    def check_bytes(self, held: int, size: int, limit: int, what: str) -> None:
        """Raise Full when `size` more bytes do not fit."""
        if held + size > limit:
            raise Full(503, "relay_full", f"This relay has no memory for more {what}")

    def _add_tombstone(self, request: Request, node: Node, stage: Stage, now: float) -> None:
        stone = Tombstone(stage, node.credential_digest, request.deadline)
        self._tombstones.put((node.key, request.request_id), stone, now)
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
        """Keep of a read answer only that it was there."""
        self.replay_bytes -= request.answer_size
        request.answer, request.answer_size = None, 0
        self._add_outcome(request, self.now())

    def _close(self, request: Request) -> None:
        """One request less that somebody waits for."""
        self.pending -= 1
        inbox = self.inboxes[request.client]
        if not inbox.pending:
            del self.inboxes[request.client]

    def _evict_request(self, request: Request) -> None:
        request.answer = None
        del self.requests[request.key]


def _outcome(stage: Stage, reason: str) -> str:
    if reason in {"provider_timeout", "pending_request_ttl_exceeded"}:
        return "timed_out"
    return str(stage)
