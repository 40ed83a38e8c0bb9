"""How long the operator waits for what others refuse."""

from tokenplace_harness.clock import FakeClock
from tokenplace_operator.reconcile.rejection_backoff import (
    FIRST_SECONDS,
    LAST_SECONDS,
    RejectionBackoff,
)

KEY = ("default", "relay")


def test_each_failed_wait_doubles_the_next_up_to_the_last() -> None:
    clock = FakeClock()
    rejections = RejectionBackoff(clock)
    waits = []
    for _ in range(9):
        waits.append(rejections.delay(KEY))
        clock.now += waits[-1]
    assert waits == [5, 10, 20, 40, 80, 160, LAST_SECONDS, LAST_SECONDS, LAST_SECONDS]


def test_reconciles_meanwhile_leave_the_time_of_the_next_attempt_as_it_is() -> None:
    clock = FakeClock()
    rejections = RejectionBackoff(clock)
    assert rejections.delay(KEY) == FIRST_SECONDS
    for passed in (1.0, 2.0, 3.0, 4.0):
        clock.now = 1000.0 + passed
        assert rejections.delay(KEY) == FIRST_SECONDS - passed


def test_an_accepted_write_resets_the_backoff_and_relays_are_independent() -> None:
    clock = FakeClock()
    rejections = RejectionBackoff(clock)
    rejections.delay(KEY)
    clock.now += FIRST_SECONDS
    assert rejections.delay(KEY) == 2 * FIRST_SECONDS
    assert rejections.delay(("default", "other")) == FIRST_SECONDS
    rejections.reset(KEY)
    assert rejections.delay(KEY) == FIRST_SECONDS
