"""Writes that are reverted each time get longer and longer pauses, and no storm of writes."""

from itertools import pairwise

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_operator.api.kinds import DEPLOYMENT, SERVICE
from tokenplace_operator.bounded import LIMIT
from tokenplace_operator.children.write_backoff import (
    FREE_WRITES,
    LAST_PAUSE_SECONDS,
    QUIET_SECONDS,
    WriteBackoff,
    describe_revert,
)
from tokenplace_operator.kube.errors import FieldConflict
from tokenplace_operator.metrics import Metrics

CHILD = (SERVICE, ("default", "relay"))
HOW = ".spec.type is set by cleaner"
STEP = 0.25


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def backoff(clock: FakeClock, metrics: Metrics) -> WriteBackoff:
    return WriteBackoff(clock, metrics)


def undo(backoff: WriteBackoff, clock: FakeClock, seconds: float) -> list[float]:
    """Revert the child at once, each time, for this time; return when it was written."""
    times = []
    end = clock.now + seconds
    while clock.now < end:
        if not backoff.is_backing_off(CHILD, "a"):
            backoff.record(CHILD, "a", HOW)
            times.append(clock.now)
        clock.now += STEP
    return times


def test_pauses_double_up_to_a_limit(backoff: WriteBackoff, clock: FakeClock) -> None:
    times = undo(backoff, clock, 3600)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[: FREE_WRITES - 1] == [STEP] * (FREE_WRITES - 1)
    beyond = pauses[FREE_WRITES - 1 :]
    assert beyond[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(beyond[9:]) == {LAST_PAUSE_SECONDS}
    assert len(times) < 32, "in an hour"


def test_a_revert_is_reported_and_counted(
    backoff: WriteBackoff, clock: FakeClock, metrics: Metrics
) -> None:
    for _ in range(FREE_WRITES - 1):
        backoff.record(CHILD, "a", HOW)
    assert backoff.active([CHILD]) == ()
    backoff.record(CHILD, "a", HOW)
    other = (DEPLOYMENT, ("default", "relay"))
    (told,) = backoff.active([other, CHILD])
    assert (told.kind, told.name, told.how, told.seconds) == ("Service", "relay", HOW, 1)
    assert metrics.registry.get_sample_value("tokenplace_operator_children_in_write_backoff") == 1
    clock.now += told.seconds
    assert not backoff.is_backing_off(CHILD, "a")
    (later,) = backoff.active([CHILD])
    assert later.seconds == QUIET_SECONDS - 1


def test_quiet_ends_the_backoff(backoff: WriteBackoff, clock: FakeClock, metrics: Metrics) -> None:
    undo(backoff, clock, 200)
    (told,) = backoff.active([CHILD])
    while told.seconds:
        clock.now += told.seconds
        found = backoff.active([CHILD])
        if not found:
            break
        (told,) = found
    assert backoff.active([CHILD]) == ()
    assert metrics.registry.get_sample_value("tokenplace_operator_children_in_write_backoff") == 0
    assert len(undo(backoff, clock, FREE_WRITES * STEP)) == FREE_WRITES


def test_other_content_never_waits(backoff: WriteBackoff, clock: FakeClock) -> None:
    undo(backoff, clock, 60)
    assert backoff.is_backing_off(CHILD, "a")
    assert not backoff.is_backing_off(CHILD, "b")
    backoff.record(CHILD, "b", "")
    assert backoff.active([CHILD]) == ()


def test_what_is_remembered_is_bounded(backoff: WriteBackoff) -> None:
    for number in range(LIMIT + 10):
        for _ in range(FREE_WRITES):
            backoff.record((SERVICE, ("default", str(number))), "a", HOW)
    assert backoff.active([(SERVICE, ("default", "0"))]) == ()
    assert backoff.active([(SERVICE, ("default", str(LIMIT)))])


WANTED = {"spec": {"type": "ClusterIP", "ports": [{"port": 80}, {"port": 81}], "name": ""}}


@pytest.mark.parametrize(
    ("live", "conflicts", "text"),
    [
        (None, (), "it is deleted"),
        (WANTED, (FieldConflict(".spec.type", "cleaner"),), ".spec.type is set by cleaner"),
        ({"spec": {**WANTED["spec"], "type": "NodePort"}}, (), ".spec.type is changed"),
        (
            {"spec": {**WANTED["spec"], "ports": [{"port": 80}, {}]}},
            (),
            ".spec.ports[1].port is changed",
        ),
        ({"spec": {**WANTED["spec"], "ports": []}}, (), ".spec.ports is changed"),
        ({"spec": {**WANTED["spec"], "name": None, "more": 1}}, (), "a field is changed"),
    ],
)
def test_the_reverted_field_is_named_without_its_value(
    live: dict[str, object] | None, conflicts: tuple[FieldConflict, ...], text: str
) -> None:
    assert describe_revert(WANTED, live, conflicts) == text
