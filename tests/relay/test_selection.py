"""Selection by the index chooses as the plain rule does, which searches all nodes."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.capabilities import TIERS, Capabilities
from tokenplace_relay.state.digests import digest
from tokenplace_relay.state.errors import StateError
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.results import NO_PROOF, Choice, NodeSnapshot, SelectedNode

CONFIG = Config(
    node_lease=30, silent_grace=20.0, working_grace=10.0, in_flight_lease=25.0,
    request_deadline=100.0, max_queue_depth=2, max_nodes=8,
)  # fmt: skip
NODES = st.sampled_from([f"node-{number}" for number in range(8)])
MODELS = st.sampled_from(["a", "b", "c"])
ABILITIES = st.builds(
    Capabilities,
    models=st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "a")]),
    tier=st.sampled_from(list(TIERS)),
    concurrency=st.sampled_from([1, 2, 3]),
)
CREDENTIAL = digest("credential")


@dataclass
class Rule:
    """The plain rule: compare all nodes, and keep the best."""

    nodes: dict[str, NodeSnapshot]
    seen: dict[str, float]
    """When each node called last."""
    turns: dict[str, int]
    """Number of each node's registration or last selection, whichever is later."""
    now: float

    def choose(self, model: str, tier: str) -> tuple[str | None, dict[str, int], dict[str, int]]:
        room: dict[str, int] = {}
        full: dict[str, int] = {}
        ranks = list(TIERS)
        orders: list[tuple[int, float, int, str]] = []
        for key, node in self.nodes.items():
            able = node.capabilities
            is_fresh = node.polls > 0 or self.now - self.seen[key] <= CONFIG.node_lease
            if not is_fresh or model not in able.models:
                continue
            if ranks.index(able.tier) < ranks.index(tier):
                continue
            flying = sum(seconds > 0 for seconds in node.lease_ends)
            if flying >= able.concurrency or len(node.queue) >= CONFIG.max_queue_depth:
                full[able.tier] = full.get(able.tier, 0) + 1
                continue
            room[able.tier] = room.get(able.tier, 0) + 1
            load = round((flying + len(node.queue)) / able.concurrency, 6)
            orders.append((ranks.index(able.tier), load, self.turns[key], key))
        return (min(orders)[-1] if orders else None), room, full


class Selection(RuleBasedStateMachine):
    """Nodes and clients in any order, and a selection after each step."""

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.state = StateMachine(CONFIG, self.clock, lambda _node: None, lambda _key: None)
        self.seen: dict[str, float] = {}
        self.turns: dict[str, int] = {}
        self.polls: list[tuple[str, object]] = []
        self.sent: list[tuple[str, str]] = []
        self.number = 0

    def next(self) -> int:
        self.number += 1
        return self.number

    def heard(self, key: str) -> None:
        self.seen[key] = self.clock.now

    @rule(key=NODES, able=ABILITIES)
    def register(self, key: str, able: Capabilities) -> None:
        if key not in self.state.inspect().nodes:
            self.turns[key] = self.next()
        self.state.register(key, able, NO_PROOF, CREDENTIAL)
        self.heard(key)

    @rule(key=NODES, able=st.none() | ABILITIES)
    def poll(self, key: str, able: Capabilities | None) -> None:
        try:
            self.state.touch(key, able)
            self.heard(key)
            self.state.claim(key)
        except StateError:
            return

    @rule(key=NODES)
    def hold_a_poll(self, key: str) -> None:
        try:
            self.polls.append((key, self.state.open_poll(key)))
        except StateError:
            return
        self.heard(key)

    @rule()
    def hang_up(self) -> None:
        if self.polls:
            self.state.close_poll(self.polls.pop(0)[1])  # type: ignore[arg-type] # kept as it came

    @rule(key=NODES)
    def submit(self, key: str) -> None:
        name = f"r{self.next()}"
        try:
            self.state.submit(b"client", name, key, {}, size=1, cancel_token=CREDENTIAL)
        except StateError:
            return
        self.sent.append((key, name))

    @rule(aim=st.integers(0, 9))
    def control(self, aim: int) -> None:
        if not self.sent:
            return
        key, name = self.sent[aim % len(self.sent)]
        try:
            self.state.control(key, name, CREDENTIAL, acknowledge=False)
        except StateError:
            return
        if key in self.state.inspect().nodes:
            self.heard(key)

    @rule(aim=st.integers(0, 9))
    def answer(self, aim: int) -> None:
        if self.sent:
            name = self.sent[aim % len(self.sent)][1]
            try:
                self.state.answer(b"client", name, {}, 1)
            except StateError:
                return

    @rule(key=NODES)
    def unregister(self, key: str) -> None:
        self.state.expel(key)

    @rule(seconds=st.sampled_from([0.1, 1, 5, 24.9, 25, 25.1, 29.9, 30, 30.000001, 31]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        self.state.sweep()

    @rule(model=MODELS, tier=st.sampled_from(list(TIERS)))
    def select(self, model: str, tier: str) -> None:
        self.check(model, tier)

    @invariant()
    def the_next_choice_is_that_of_the_rule(self) -> None:
        if self.number:
            self.check(("a", "b", "c")[self.number % 3], list(TIERS)[self.number % 2])

    def check(self, model: str, tier: str) -> None:
        nodes = dict(self.state.inspect().nodes)
        plain = Rule(nodes, self.seen, self.turns, self.clock.now)
        key, room, full = plain.choose(model, tier)
        choice = self.state.select(model, tier)
        assert (choice.selected.key if choice.selected else None) == key
        assert (dict(choice.eligible), dict(choice.full)) == (room, full)
        if choice.selected is not None:
            self.turns[choice.selected.key] = self.next()
            self.check_load(choice.selected, nodes[choice.selected.key])

    def check_load(self, selected: SelectedNode, node: NodeSnapshot) -> None:
        assert selected.queue_depth == len(node.queue)
        assert selected.in_flight == node.in_flight
        busy = len(node.queue) + node.in_flight
        assert selected.load == round(busy / node.capabilities.concurrency, 6)


@pytest.mark.timeout(300)
def test_any_interleaving_chooses_as_the_plain_rule() -> None:
    run_state_machine_as_test(
        Selection,
        settings=settings(
            max_examples=150,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def many(count: int) -> StateMachine:
    """A state with `count` nodes that serve the same model."""
    config = Config(max_nodes=count, node_lease=30)
    state = StateMachine(config, FakeClock(), lambda _node: None, lambda _key: None)
    for number in range(count):
        able = Capabilities(models=("a",), concurrency=1 + number % 4)
        state.register(f"node-{number}", able, NO_PROOF, CREDENTIAL)
    return state


def test_every_node_is_chosen_in_turn() -> None:
    state = many(200)
    chosen = [state.select("a", "8k-fast").selected for _ in range(200)]
    assert len({node.key for node in chosen if node is not None}) == 200


def test_an_unknown_tier_fits_no_node() -> None:
    choice: Choice = many(2).select("a", "1m-huge")
    assert (choice.selected, choice.any_node) == (None, True)
    assert not choice.eligible
    assert not choice.full


def test_moments_of_the_past_do_not_pile_up() -> None:
    """Each registration notes when the node's lease ends; only the latest is of use."""
    clock = FakeClock()
    state = StateMachine(Config(in_flight_lease=25.0), clock, lambda _node: None, lambda _key: None)
    able = Capabilities(models=("a",), concurrency=4)
    state.register("node", able, NO_PROOF, CREDENTIAL)
    for number in range(500):
        state.submit(b"client", f"r{number}", "node", {}, size=1, cancel_token=b"")
        state.touch("node")
        state.claim("node")
        assert state.select("a", "8k-fast").selected is not None
        state.answer(b"client", f"r{number}", {}, 1)
        state.retrieve(b"client", f"r{number}")
        clock.advance(0.01)
    assert state.watched_moments <= 8
