"""A hand-out that nobody got is undone, and nothing else with it."""

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.model import Request, Stage, digest

NODE, CLIENT, ID = "node", digest("client"), "id"
CONFIG = Config(in_flight_lease=30)


class Relay:
    """A state with one node and one request."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.state = StateMachine(CONFIG, self.clock, lambda _node: None, lambda _key: None)
        self.credential = self.state.register(NODE, Capabilities()) or ""
        self.state.submit(CLIENT, ID, NODE, {}, size=1, token="")

    def claim(self) -> tuple[Request, int]:
        self.state.touch(NODE)
        request = self.state.claim(NODE)
        assert request is not None
        return request, request.fencing_token

    def lapse(self) -> None:
        self.clock.now += CONFIG.in_flight_lease
        self.state.sweep()

    def ask(self) -> str:
        return self.state.control(NODE, ID, self.credential, acknowledge=False).status


@pytest.fixture
def relay() -> Relay:
    return Relay()


def test_an_undelivered_claim_is_undone(relay: Relay) -> None:
    request, turn = relay.claim()
    relay.state.unclaim(request, turn)
    assert request.stage is Stage.QUEUED
    assert relay.ask() == "completed/unavailable"


def test_who_took_it_before_still_has_it(relay: Relay) -> None:
    relay.claim()
    relay.lapse()
    request, turn = relay.claim()
    relay.state.unclaim(request, turn)
    assert relay.ask() == "active"


def test_a_late_undo_has_no_effect(relay: Relay) -> None:
    request, turn = relay.claim()
    relay.lapse()
    relay.claim()
    relay.state.unclaim(request, turn)
    assert request.stage is Stage.CLAIMED


def test_an_undo_after_a_renewal_has_no_effect(relay: Relay) -> None:
    request, turn = relay.claim()
    assert relay.ask() == "active"
    relay.state.unclaim(request, turn)
    assert request.stage is Stage.CLAIMED
