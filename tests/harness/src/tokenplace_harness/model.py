"""What the relay should remember, in plain lists that are searched from end to end.

Written from the protocol, not from the relay's code: no index, no timer, no shared helper.
"""

from dataclasses import dataclass, field

from tokenplace_relay.settings.config import Config


@dataclass(eq=False)
class Sent:
    """One accepted request."""

    client: str
    name: str
    node: str
    size: int
    token: str
    deadline: float
    reader: str = ""
    """What its answer is retrieved with."""
    state: str = "queued"
    handed_out: bool = False
    confirmed: bool = False
    asked_about: bool = False
    held_since: float = 0.0
    expired_leases: int = 0
    hands: int = 0
    """Times that it was claimed or renewed."""
    """Times that it was claimed and its lease expired."""
    turn: int = 0
    """Rises with each claim."""
    answer_size: int = 0
    kept_until: float = 0.0
    has_news: bool = False
    outcomes: int = 0

    @property
    def is_live(self) -> bool:
        return self.state in {"queued", "claimed"}


@dataclass
class Model:
    """All requests, each node's queue as a list, and the time of each node's last call."""

    config: Config
    now: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    queues: dict[str, list[Sent]] = field(default_factory=dict)
    heard: dict[str, float] = field(default_factory=dict)
    polled: set[str] = field(default_factory=set)
    """Nodes that polled since they came."""
    showing: set[str] = field(default_factory=set)
    """Nodes that showed their credential with an answer."""
    asking: set[str] = field(default_factory=set)
    """Nodes that asked about work since they registered."""
    unread: list[Sent] = field(default_factory=list)
    replays: list[Sent] = field(default_factory=list)
    ended: list[Sent] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)
    turns: int = 0

    def find(self, client: str, name: str) -> Sent | None:
        """The request of that name in its current state."""
        for one in self.sent:
            if name and (one.client, one.name) == (client, name):
                self.settle(one)
                return one
        return None

    def nameless(self, client: str) -> Sent | None:
        """The client's oldest live request without a name."""
        found = [s for s in self.sent if s.client == client and not s.name and s.is_live]
        for one in found[:1]:
            self.settle(one)
            return one
        return None

    def settle(self, one: Sent) -> None:
        """Expire it when its time has come."""
        if one.is_live and one.deadline <= self.now:
            self.end(one, "expired")

    def silence(self, node: str) -> float:
        return self.now - self.heard[node]

    def at_work(self, node: str) -> list[Sent]:
        return [s for s in self.sent if s.node == node and s.is_live and s.handed_out]

    def is_lost(self, node: str) -> bool:
        return self.silence(node) > self.config.node_lease + self.config.silent_grace

    def is_dead(self, node: str) -> bool:
        limit = self.config.node_lease + self.config.working_grace
        return self.silence(node) > limit and any(s.asked_about for s in self.at_work(node))

    def is_gone(self, node: str) -> bool:
        if self.is_dead(node):
            return True
        if self.silence(node) <= self.config.node_lease or self.at_work(node):
            return False
        return not self.queues[node] or self.is_lost(node)

    def pending(self, client: str | None = None) -> list[Sent]:
        """What is not over for its client."""
        found = [s for s in self.sent if s.is_live or s in self.unread]
        return [s for s in found if client in {None, s.client}]

    def room(self, client: str, node: str, size: int) -> int:
        """0 when one more request fits, else the status of the refusal."""
        config = self.config
        live = [s for s in self.sent if s.is_live]
        own = self.pending(client)
        weight = sum(s.size if s.is_live else s.answer_size for s in own)
        if len(own) >= config.max_client_requests:
            return 429
        if own and weight + size > config.max_request_bytes // 4:
            return 429
        full = (
            len(self.queues[node]) >= config.max_queue_depth
            or len(self.pending()) >= config.max_requests
            or sum(s.size for s in live) + size > config.max_request_bytes
            or sum(s.answer_size for s in self.unread) > config.max_answer_bytes // 2
        )
        return 503 if full else 0

    def claim(self, node: str) -> Sent | None:
        """The oldest live request of a queue."""
        while self.queues[node]:
            one = self.queues[node][0]
            self.settle(one)
            if one.is_live and one.expired_leases == 2:
                self.end(one, "expired")
            elif one.is_live:
                self.hold(one)
                one.confirmed = not one.name
                return one
        return None

    def is_mute(self, node: str) -> bool:
        """Whether the next request was taken twice, and the node never asked about any."""
        if node in self.asking:
            return False
        for one in list(self.queues[node]):
            self.settle(one)
            if one.is_live:
                return one.expired_leases == 2
        return False

    def hold(self, one: Sent) -> None:
        if one in self.queues[one.node]:
            self.queues[one.node].remove(one)
        if one.state != "claimed":
            self.turns += 1
            one.turn, one.held_since = self.turns, self.now
        one.state, one.handed_out, one.confirmed = "claimed", True, True
        one.hands += 1

    def renew(self, node: str, name: str) -> list[Sent]:
        """Hold all live work of a name that a node was given; its claims first, then its queue."""
        held = [s for s in self._by_turn() if s.state == "claimed" and s.node == node]
        held += [s for s in self.queues.get(node, []) if s.handed_out]
        named = [s for s in held if s.name == name]
        for one in named:
            self.settle(one)
        live = [s for s in named if s.is_live]
        for one in live:
            self.hold(one)
            one.asked_about = True
        return live

    def put_back(self, one: Sent) -> None:
        one.state = "queued"
        self.queues[one.node].insert(0, one)

    def end(self, one: Sent, state: str) -> None:
        """The one end of a request."""
        assert one.is_live
        one.outcomes += 1
        if one in self.queues.get(one.node, []):
            self.queues[one.node].remove(one)
        one.state, one.has_news = state, False
        if one.name:
            self.outcomes[state] = self.outcomes.get(state, 0) + 1
        if state == "answered":
            one.kept_until = self.now + self.config.answer_ttl
            self.unread.append(one)
        else:
            self.remember(one)

    def read(self, one: Sent) -> None:
        """A client reads an answer."""
        if one in self.unread:
            self.unread.remove(one)
            one.kept_until = self.now + self.config.answer_ttl
            self.replays.append(one)
        while len(self.replays) > self.config.max_replays:
            self.let_go(self.replays[0])

    def let_go(self, one: Sent) -> None:
        """Keep of a read answer only that it was there."""
        self.replays.remove(one)
        one.state = "answered and let go"
        self.remember(one)

    def remember(self, one: Sent) -> None:
        one.kept_until = self.now + self.config.terminal_ttl
        self.ended.append(one)
        if len(self.ended) > self.config.max_outcomes:
            self.sent.remove(self.ended.pop(0))

    def remove(self, node: str) -> None:
        """A node goes, and all its work with it."""
        queued = self.queues[node]
        claimed = [s for s in self._by_turn() if s.node == node and s.state == "claimed"]
        for one in [*queued, *claimed]:
            self.end(one, "cancelled")
        del self.queues[node], self.heard[node]
        self.asking.discard(node)
        self.polled.discard(node)
        self.showing.discard(node)

    def tick(self) -> None:
        """What time asks for."""
        for one in list(self.sent):
            self.settle(one)
        lapsed = self.now - self.config.in_flight_lease
        for one in self._by_turn():
            if one.state == "claimed" and not one.confirmed and one.held_since <= lapsed:
                self.put_back(one)
                one.expired_leases += 1
                one.confirmed = True
        for kept in (self.unread, self.replays, self.ended):
            for one in [s for s in kept if s.kept_until <= self.now]:
                kept.remove(one)
                self.sent.remove(one)
        for node in list(self.heard):
            if self.is_gone(node):
                self.remove(node)
            elif self.is_lost(node):
                for one in [s for s in self.queues[node] if not s.handed_out]:
                    self.end(one, "cancelled")

    def _by_turn(self) -> list[Sent]:
        return sorted(self.sent, key=lambda one: one.turn)
