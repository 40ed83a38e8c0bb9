"""Microseconds of one selection with many nodes: `python -m tokenplace_harness.bench.select`."""

import time

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.capabilities import Capabilities
from tokenplace_relay.state.digests import digest
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.results import NO_PROOF

NODES = (8, 100, 1000, 5000)
CALLS = 2000
RUNS = 7


def filled(count: int) -> StateMachine:
    """A state with `count` nodes of eight kinds, each with four places."""
    config = Config(max_nodes=count, max_requests=count + 1, max_client_requests=count + 1)
    state = StateMachine(config, FakeClock(), lambda _node: None, lambda _key: None)
    for number in range(count):
        models = ("m", f"other-{number % 4}")
        tier = ("8k-fast", "64k-full")[number % 2]
        able = Capabilities(models, tier, context_tokens=65536, concurrency=4)
        state.register(f"node-{number}", able, NO_PROOF, digest("credential"))
    return state


def microseconds(count: int) -> float:
    """CPU time of a selection and of the placing of the node that it chose; least of 7 runs."""
    state = filled(count)
    state.select("m", "8k-fast")
    best = float("inf")
    for _ in range(RUNS):
        started = time.process_time()
        for _ in range(CALLS):
            state.select("m", "8k-fast")
        best = min(best, time.process_time() - started)
    return best / CALLS * 1e6


if __name__ == "__main__":
    for count in NODES:
        print(f"{count:5} nodes: {microseconds(count):6.1f} us")
