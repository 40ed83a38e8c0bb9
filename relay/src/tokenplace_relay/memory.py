"""The relay's state machine in memory: every method is one transition, without I/O or await.

queued -> claimed -> answered, or queued/claimed -> cancelled | expired. Exactly one of these
ends wins. The clock is monotonic and passed in; `housekeep` does what time asks for.
"""

import heapq
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import count

from tokenplace_relay.capabilities import Capabilities
from tokenplace_relay.config import Config
from tokenplace_relay.selection import Choice, Cursor, choose
from tokenplace_relay.state import (
    Control,
    Counters,
    Envelope,
    Finished,
    Full,
    Node,
    Pending,
    Request,
    RequestKey,
    Stage,
    Tombstone,
    UnknownNode,
    UnknownRequest,
    WrongProof,
    digest,
    proves,
)

Wake = Callable[[str], None]
"""Told the key of a node that has work, or is gone: its held polls should look again."""


class Memory:
    """All of the relay's state, in one process."""

    def __init__(self, config: Config, clock: Callable[[], float], wake: Wake) -> None:
        self._config = config
        self._clock = clock
        self._wake = wake
        self.nodes: dict[str, Node] = {}
        self.requests: dict[RequestKey, Request] = {}
        self.counters = Counters()
        self.request_bytes = 0
        self.answer_bytes = 0
        self._live: dict[str, int] = {}
        self._unread: dict[str, dict[RequestKey, Request]] = {}
        self._read: OrderedDict[RequestKey, Request] = OrderedDict()
        self._tombstones: OrderedDict[tuple[str, str], Tombstone] = OrderedDict()
        self._timers: list[tuple[float, int, Request]] = []
        self._sequence = count()
        self._cursor = Cursor()

    # Compute nodes

    def register(self, key: str, capabilities: Capabilities) -> str | None:
        """Add or renew a node; return the credential, only when the node is new."""
        now = self._clock()
        node = self.nodes.get(key)
        if node is not None:
            node.capabilities, node.last_seen = capabilities, now
            return None
        if len(self.nodes) >= self._config.max_nodes:
            raise Full(503, "too_many_nodes", "This relay has no room for more compute nodes")
        credential = secrets.token_urlsafe(32)
        self.nodes[key] = Node(key, capabilities, digest(credential), now)
        return credential

    def touch(self, key: str, capabilities: Capabilities | None = None) -> Node:
        """Note a sign of life of a registered node."""
        node = self._node(key)
        node.last_seen = self._clock()
        if capabilities is not None:
            node.capabilities = capabilities
        return node

    def claim(self, key: str) -> Request | None:
        """Hand the oldest live request of a node's queue to it."""
        now, node = self._clock(), self._node(key)
        while node.queue:
            request = node.queue.popleft()
            if request.deadline <= now:
                self._end(request, Stage.EXPIRED, "provider_timeout")
                continue
            request.stage, request.claimed_at = Stage.CLAIMED, now
            request.lease_end = min(now + self._config.in_flight_lease, request.deadline)
            request.owner_digest = node.credential_digest
            node.claimed[request.key] = request
            return request
        return None

    def unclaim(self, request: Request) -> None:
        """Take back work whose poller is gone: it is the next to be claimed again."""
        node = self.nodes.get(request.node)
        if request.stage is not Stage.CLAIMED or node is None:
            return
        del node.claimed[request.key]
        request.stage, request.owner_digest = Stage.QUEUED, ""
        node.queue.appendleft(request)
        self._wake(node.key)

    def control(self, key: str, request_id: str, credential: str, *, acknowledge: bool) -> Control:
        """Renew the lease of claimed work, or tell what became of it."""
        now = self._clock()
        node, tombstone = self.nodes.get(key), self._tombstones.get((key, request_id))
        of_tombstone = tombstone is not None and proves(credential, tombstone.owner_digest)
        if not of_tombstone and (node is None or not proves(credential, node.credential_digest)):
            raise WrongProof
        if node is not None:
            node.last_seen = now
        request = self._claimed_by(node, request_id)
        if request is not None and request.deadline > now:
            request.lease_end = min(now + self._config.in_flight_lease, request.deadline)
            self.counters.lease_renewals += 1
            return self._counted(Control("active", request.deadline - now))
        if request is not None:
            self._end(request, Stage.EXPIRED, "provider_timeout")
            tombstone = self._tombstones.get((key, request_id))
        if tombstone is None or not proves(credential, tombstone.owner_digest):
            return self._counted(Control("completed/unavailable"))
        if acknowledge:
            del self._tombstones[key, request_id]
            self.counters.add(self.counters.controls, "acknowledged")
        return self._counted(Control(tombstone.status, max(0.0, tombstone.deadline - now)))

    def unregister(self, key: str, credential: str) -> bool:
        """Remove a node at its own wish; False when it was not there."""
        node = self.nodes.get(key)
        if node is None:
            return False
        if not proves(credential, node.credential_digest):
            raise WrongProof
        self._remove(node, "unregistered")
        return True

    def answer(self, key: RequestKey, envelope: Envelope, size: int, credential: str) -> bool:
        """Take a node's answer; False when one is there already and was not read.

        credential is optional proof: when it is given, it must be the claiming node's.
        """
        now, request = self._clock(), self.requests.get(key)
        if request is None:
            raise UnknownRequest
        if credential and not proves(credential, request.owner_digest):
            raise WrongProof
        if request.stage.is_live and request.deadline <= now:
            self._end(request, Stage.EXPIRED, "provider_timeout")
        if request.stage is Stage.ANSWERED and not request.was_read:
            return False
        if not request.stage.is_live:
            raise Finished(request.stage, request.reason)
        self._make_room_for_answer(size)
        self._end(request, Stage.ANSWERED, "")
        request.answer, request.answer_size = envelope, size
        self.answer_bytes += size
        self._unread.setdefault(key[0], {})[key] = request
        return True

    # Clients

    def select(self, model: str, tier: str) -> Choice:
        """Choose a node for a resolved model and a known tier; reserves nothing."""
        now = self._clock()
        fresh = [node for node in self.nodes.values() if self._is_fresh(node, now)]
        bound = self._config.max_queue_depth
        return choose(fresh, model, tier, self._cursor, now=now, max_queue=bound)

    def submit(
        self,
        client: str,
        request_id: str,
        node_key: str,
        envelope: Envelope,
        *,
        size: int,
        token: str,
    ) -> float:
        """Queue a request once; return the seconds until its deadline, also for a repeat."""
        now = self._clock()
        has_id = bool(request_id)
        key = (client, request_id or f"\0{next(self._sequence)}")
        known = self.requests.get(key)
        if known is not None:
            return self._repeated(known, now)
        node = self._node(node_key)
        self._check_room(client, node, size)
        request = Request(
            key=key,
            node=node_key,
            envelope=envelope,
            size=size,
            created=now,
            deadline=now + self._config.request_deadline,
            cancel_digest=digest(token) if token else "",
            has_id=has_id,
        )
        self.requests[key] = request
        self.request_bytes += size
        self._live[client] = self._live.get(client, 0) + 1
        node.queue.append(request)
        self._at(request.deadline, request)
        self._wake(node_key)
        return request.deadline - now

    def cancel(self, key: RequestKey, token: str, stage: Stage, reason: str) -> tuple[Stage, int]:
        """End a live request; the same again gives the same. Returns stage and 1 if it was queued.

        Raises WrongProof for a wrong token, an unknown request, and one that was answered.
        """
        request = self.requests.get(key)
        if request is None or not proves(token, request.cancel_digest):
            raise WrongProof
        if request.stage is Stage.ANSWERED:
            raise WrongProof
        if not request.stage.is_live:
            return request.stage, 0
        was_queued = request.stage is Stage.QUEUED
        self._end(request, stage, reason)
        return stage, int(was_queued)

    def retrieve(self, client: str, request_id: str) -> Envelope | Pending:
        """The answer, readable again until it is forgotten; Pending while there is none."""
        now = self._clock()
        request = self.requests.get((client, request_id))
        if request is None:
            raise UnknownRequest
        if request.stage.is_live and request.deadline <= now:
            self._end(request, Stage.EXPIRED, "pending_request_ttl_exceeded")
        if request.stage.is_live:
            return Pending(request.deadline - now)
        if request.stage is not Stage.ANSWERED:
            raise Finished(request.stage, request.reason)
        return self._read_answer(request)

    def retrieve_any(self, client: str) -> Envelope:
        """The oldest unread answer of a client."""
        unread = self._unread.get(client)
        if not unread:
            raise UnknownRequest
        return self._read_answer(next(iter(unread.values())))

    # Time

    def housekeep(self) -> None:
        """Expire requests, forget what has ended long ago, drop silent nodes."""
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            self._due(heapq.heappop(self._timers)[2], now)
        for node in [one for one in self.nodes.values() if self._is_gone(one, now)]:
            self._remove(node, "stale_lease")
        for where in [w for w, one in self._tombstones.items() if one.forget_at <= now]:
            del self._tombstones[where]

    def live(self) -> Iterator[Request]:
        """Requests that are queued or claimed."""
        return (one for one in self.requests.values() if one.stage.is_live)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that was accepted still waits to be answered or read."""
        return not self._live and not self._unread

    def is_healthy(self, node: Node) -> bool:
        """Whether clients are sent to this node."""
        return self._is_fresh(node, self._clock())

    def now(self) -> float:
        """The time on the state's clock."""
        return self._clock()

    def _node(self, key: str) -> Node:
        try:
            return self.nodes[key]
        except KeyError:
            raise UnknownNode from None

    def _is_fresh(self, node: Node, now: float) -> bool:
        return node.polls > 0 or now - node.last_seen <= self._config.node_lease

    def _is_gone(self, node: Node, now: float) -> bool:
        """Silent past its lease, and not at work: a node may think longer than its lease."""
        return not self._is_fresh(node, now) and node.in_flight(now) == 0

    def _remove(self, node: Node, why: str) -> None:
        del self.nodes[node.key]
        self.counters.add(self.counters.evictions, why)
        for request in [*node.queue, *node.claimed.values()]:
            self._end(request, Stage.CANCELLED, "server_unregistered", node=node)
        self._wake(node.key)

    def _claimed_by(self, node: Node | None, request_id: str) -> Request | None:
        if node is None:
            return None
        found = (one for one in node.claimed.values() if one.key[1] == request_id)
        return next(found, None)

    def _counted(self, outcome: Control) -> Control:
        name = outcome.status.replace("/", "_")
        self.counters.add(self.counters.controls, name)
        return outcome

    def _repeated(self, known: Request, now: float) -> float:
        if known.stage in (Stage.CANCELLED, Stage.EXPIRED):
            raise Finished(known.stage, known.reason)
        return max(0.0, known.deadline - now)

    def _check_room(self, client: str, node: Node, size: int) -> None:
        config = self._config
        if self._live.get(client, 0) >= config.max_client_requests:
            raise Full(429, "too_many_requests", "Too many unanswered requests of this client")
        if len(node.queue) >= config.max_queue_depth:
            raise Full(503, "queue_full", "The queue of this compute node is full")
        if len(self.requests) >= config.max_requests:
            self._forget_one_read()
        if len(self.requests) >= config.max_requests:
            raise Full(503, "relay_full", "This relay has no room for more requests")
        if self.request_bytes + size > config.max_request_bytes:
            raise Full(503, "relay_full", "This relay has no memory for more requests")

    def _make_room_for_answer(self, size: int) -> None:
        while self.answer_bytes + size > self._config.max_answer_bytes:
            if not self._forget_one_read():
                raise Full(503, "relay_full", "This relay has no memory for more answers")

    def _forget_one_read(self) -> bool:
        """Forget the answer that was read first; unread ones are never given up."""
        if not self._read:
            return False
        self._forget(next(iter(self._read.values())))
        return True

    def _read_answer(self, request: Request) -> Envelope:
        assert request.answer is not None
        if not request.was_read:
            request.was_read = True
            self._drop_unread(request)
            self._read[request.key] = request
        return request.answer

    def _end(self, request: Request, stage: Stage, reason: str, node: Node | None = None) -> None:
        """The one way into a terminal stage."""
        now = self._clock()
        node = node or self.nodes.get(request.node)
        if request.stage is Stage.CLAIMED and stage is not Stage.ANSWERED:
            self._bury(request, stage, now)
        if node is not None:
            node.claimed.pop(request.key, None)
            if request in node.queue:
                node.queue.remove(request)
        request.stage, request.reason = stage, reason
        self.request_bytes -= request.size
        request.envelope = {}
        self._count_down(request.key[0])
        kept = self._config.answer_ttl if stage is Stage.ANSWERED else self._config.terminal_ttl
        request.forget_at = now + kept
        self._at(request.forget_at, request)
        if request.has_id:
            self.counters.add(self.counters.outcomes, _outcome(stage, reason))

    def _bury(self, request: Request, stage: Stage, now: float) -> None:
        where = (request.node, request.key[1])
        until = now + self._config.tombstone_ttl
        self._tombstones[where] = Tombstone(stage, request.owner_digest, request.deadline, until)
        self._tombstones.move_to_end(where)
        if len(self._tombstones) > self._config.max_outcomes:
            self._tombstones.popitem(last=False)

    def _due(self, request: Request, now: float) -> None:
        if self.requests.get(request.key) is not request:
            return
        if request.stage.is_live:
            if request.deadline <= now:
                self._end(request, Stage.EXPIRED, "provider_timeout")
        elif request.forget_at <= now:
            self._forget(request)

    def _forget(self, request: Request) -> None:
        del self.requests[request.key]
        self._read.pop(request.key, None)
        self._drop_unread(request)
        self.answer_bytes -= request.answer_size

    def _drop_unread(self, request: Request) -> None:
        client = request.key[0]
        unread = self._unread.get(client, {})
        unread.pop(request.key, None)
        if not unread:
            self._unread.pop(client, None)

    def _count_down(self, client: str) -> None:
        self._live[client] -= 1
        if not self._live[client]:
            del self._live[client]

    def _at(self, when: float, request: Request) -> None:
        heapq.heappush(self._timers, (when, next(self._sequence), request))


def _outcome(stage: Stage, reason: str) -> str:
    if reason in {"provider_timeout", "pending_request_ttl_exceeded"}:
        return "timed_out"
    return str(stage)
