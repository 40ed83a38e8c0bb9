"""Full garbage collections are rare, and they collect what they are for."""

import subprocess
import sys

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.server.gc_policy import (
    FEW_HELD_CALLS,
    INTERVAL_SECONDS,
    LONGEST_INTERVAL_SECONDS,
    GCPolicy,
)

PROGRAM = """
import gc, weakref
from tokenplace_relay.server.gc_policy import GCPolicy, configure
configure()
generations = []
gc.callbacks.append(lambda phase, info: phase == "start" and generations.append(info["generation"]))
class Cycle:
    def __init__(self):
        self.me = self
cycle = Cycle()
reference = weakref.ref(cycle)
kept = [[] for _ in range(300_000)]
del cycle
assert generations.count(1) > 10, generations
assert 2 not in generations, generations
assert reference() is not None, "it was alive when young objects were collected"
assert GCPolicy(lambda: 0, iter([0.0, 601.0, 601.0]).__next__).collect_if_due()
assert generations[-1] == 2
assert reference() is None
"""


def test_many_living_objects_cause_no_full_collection() -> None:
    """In a process of its own, as the thresholds are the process's."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("held", [0, FEW_HELD_CALLS])
def test_collects_at_the_interval(held: int) -> None:
    clock = FakeClock(0.0)
    policy = GCPolicy(lambda: held, clock)
    clock.now = INTERVAL_SECONDS - 1
    assert not policy.collect_if_due()
    clock.now = INTERVAL_SECONDS
    assert policy.collect_if_due()
    assert not policy.collect_if_due()


def test_collects_less_often_while_many_calls_are_held() -> None:
    clock = FakeClock(0.0)
    policy = GCPolicy(lambda: FEW_HELD_CALLS + 1, clock)
    clock.now = LONGEST_INTERVAL_SECONDS - 1
    assert not policy.collect_if_due()
    clock.now = LONGEST_INTERVAL_SECONDS
    assert policy.collect_if_due()
