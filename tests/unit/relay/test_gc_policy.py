"""A look at all objects is rare, and finds what it is for."""

import subprocess
import sys

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_relay.server.gc_policy import FEW, LONGEST_PAUSE_SECONDS, PAUSE_SECONDS, Looks

OBJECTS = """
import gc, weakref
from tokenplace_relay.server.gc_policy import settle, Looks
settle()
looks = []
gc.callbacks.append(lambda phase, info: phase == "start" and looks.append(info["generation"]))
class Knot:
    def __init__(self):
        self.me = self
knot = Knot()
tied = weakref.ref(knot)
kept = [[] for _ in range(300_000)]
del knot
assert looks.count(1) > 10, looks
assert 2 not in looks, looks
assert tied() is not None, "it was alive when young objects were looked at"
assert Looks(lambda: 0, iter([0.0, 601.0, 601.0]).__next__).look()
assert looks[-1] == 2
assert tied() is None
"""


def test_many_living_objects_cause_no_full_collection() -> None:
    """In a process of its own, as the thresholds are the process's."""
    done = subprocess.run(
        [sys.executable, "-c", OBJECTS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("held", "pause"), [(0, PAUSE_SECONDS), (FEW, PAUSE_SECONDS)])
def test_looks_from_time_to_time(held: int, pause: float) -> None:
    clock = FakeClock()
    looks = Looks(lambda: held, clock)
    clock.now = pause - 1
    assert not looks.look()
    clock.now = pause
    assert looks.look()
    assert not looks.look()


def test_looks_less_often_while_many_calls_are_held() -> None:
    clock = FakeClock()
    looks = Looks(lambda: FEW + 1, clock)
    clock.now = LONGEST_PAUSE_SECONDS - 1
    assert not looks.look()
    clock.now = LONGEST_PAUSE_SECONDS
    assert looks.look()
