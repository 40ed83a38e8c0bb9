"""Undoing an undelivered claim, and nothing else with it."""

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import digest, request_key
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.results import NO_PROOF, Stage, Work

NODE, CLIENT, ID, CREDENTIAL = "node", digest("client"), "id", digest("credential")
CONFIG = Config(in_flight_lease=30)


class Relay:
    """A state with one node and one request."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.state = StateMachine(CONFIG, self.clock, lambda _node: None, lambda _key: None)
        assert self.state.register(NODE, Capabilities(), NO_PROOF, CREDENTIAL)
        self.state.submit(CLIENT, ID, NODE, {}, size=1, cancel_token=b"")

    @property
    def stage(self) -> Stage:
        return self.state.inspect().requests[request_key(CLIENT, ID)].stage

    def claim(self) -> Work:
        self.state.touch(NODE)
        work = self.state.claim(NODE)
        assert work is not None
        return work

    def expire_lease(self) -> None:
        self.clock.advance(CONFIG.in_flight_lease)
        self.state.sweep()

    def control(self) -> str:
        return self.state.control(NODE, ID, CREDENTIAL, acknowledge=False).status


@pytest.fixture
def relay() -> Relay:
    return Relay()


def test_an_undelivered_claim_is_taken_back(relay: Relay) -> None:
    relay.state.unclaim(relay.claim())
    assert relay.stage is Stage.QUEUED
    assert relay.control() == "completed/unavailable"


def test_an_earlier_claim_stays_valid(relay: Relay) -> None:
    relay.claim()
    relay.expire_lease()
    relay.state.unclaim(relay.claim())
    assert relay.control() == "active"


def test_a_late_undo_has_no_effect(relay: Relay) -> None:
    work = relay.claim()
    relay.expire_lease()
    relay.claim()
    relay.state.unclaim(work)
    assert relay.stage is Stage.CLAIMED


def test_an_undo_after_a_renewal_has_no_effect(relay: Relay) -> None:
    work = relay.claim()
    assert relay.control() == "active"
    relay.state.unclaim(work)
    assert relay.stage is Stage.CLAIMED


def test_an_undo_of_an_evicted_request_has_no_effect(relay: Relay) -> None:
    work = relay.claim()
    for _ in range(2):
        relay.clock.advance(CONFIG.request_deadline + CONFIG.terminal_ttl)
        relay.state.sweep()
    relay.state.unclaim(work)
    assert not relay.state.inspect().requests
