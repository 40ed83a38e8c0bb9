"""What always holds between the relay's state and its model."""

from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from tokenplace_harness.clock import FakeClock
from tokenplace_harness.model import Model, Sent
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.digests import digest, request_key
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.results import Work

CONFIG = Config(
    node_lease=30,
    silent_grace=20.0,
    working_grace=10.0,
    in_flight_lease=25.0,
    request_deadline=100.0,
    answer_ttl=60.0,
    terminal_ttl=50.0,
    tombstone_ttl=20.0,
    max_nodes=2,
    max_queue_depth=3,
    max_client_requests=4,
    max_requests=6,
    max_request_bytes=40,
    max_answer_bytes=30,
    max_progress_bytes=20,
    max_replays=2,
    max_outcomes=5,
)


def assert_same(actual: object, expected: object) -> None:
    """Assert that relay and model agree on the status and code of a refusal."""
    assert actual == expected


class Promises(RuleBasedStateMachine):
    """A relay's state and its model side by side; the rules of peers and time come with a test."""

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.woken: list[str] = []
        self.state = StateMachine(CONFIG, self.clock, self.woken.append, lambda _key: None)
        self.model = Model(CONFIG, self.clock.now)
        self.registrations = 0
        self.credentials: dict[str, str] = {}
        self.answered: set[Sent] = set()
        self.handed: list[tuple[Work, Sent, int]] = []

    @invariant()
    def each_request_is_in_one_place(self) -> None:
        seen = self.state.inspect()
        live = [key for key, one in seen.requests.items() if one.stage.is_live]
        held = [key for node in seen.nodes.values() for key in (*node.queue, *node.claimed)]
        assert sorted(held) == sorted(live)
        for node in seen.nodes.values():
            queue = [seen.requests[key] for key in node.queue]
            queued = [(one.client, one.request_id) for one in queue]
            wanted = [(digest(one.client), one.name) for one in self.model.queues[node.key]]
            assert queued == wanted

    @invariant()
    def claimed_work_counts_while_its_lease_lasts(self) -> None:
        for node in self.state.inspect().nodes.values():
            assert len(node.lease_ends) == len(node.claimed)
            assert node.in_flight == sum(seconds > 0 for seconds in node.lease_ends)

    @invariant()
    def nothing_is_lost_and_nothing_else_is_kept(self) -> None:
        seen = self.state.inspect()
        assert set(seen.nodes) == set(self.model.heard)
        assert len(seen.requests) == len(self.model.sent)
        named = {request_key(digest(s.client), s.name) for s in self.model.sent if s.name}
        assert named <= set(seen.requests)
        assert self.state.totals().pending == len(self.model.pending())

    @invariant()
    def each_end_is_counted_once(self) -> None:
        assert all(one.outcomes <= 1 for one in self.model.sent)
        counted = dict(self.state.totals().outcomes)
        timed_out = counted.pop("timed_out", 0)
        counted["expired"] = counted.get("expired", 0) + timed_out
        counted["answered"] = counted.pop("completed", 0)
        assert {name: n for name, n in counted.items() if n} == self.model.outcomes

    @invariant()
    def weights_are_true_and_bounded(self) -> None:
        totals, live = self.state.totals(), [s for s in self.model.sent if s.is_live]
        assert totals.request_bytes == sum(s.size for s in live) <= CONFIG.max_request_bytes
        unread = sum(s.answer_size for s in self.model.unread)
        assert totals.unread_bytes == unread <= CONFIG.max_answer_bytes
        assert totals.replay_bytes == sum(s.answer_size for s in self.model.replays)
        seen = self.state.inspect().requests.values()
        progress = sum(one.progress_size for one in seen if one.stage.is_live)
        assert totals.progress_bytes == progress <= CONFIG.max_progress_bytes

    @invariant()
    def counts_are_bounded(self) -> None:
        seen, totals = self.state.inspect(), self.state.totals()
        assert len(seen.nodes) <= CONFIG.max_nodes
        assert totals.pending <= CONFIG.max_requests
        assert len(seen.requests) <= (
            CONFIG.max_requests + CONFIG.max_replays + CONFIG.max_outcomes
        )
        assert seen.tombstones <= CONFIG.max_outcomes
        assert all(len(node.queue) <= CONFIG.max_requests for node in seen.nodes.values())
        assert all(seen.pending_by_client.values())
        assert all(n <= CONFIG.max_client_requests for n in seen.pending_by_client.values())
