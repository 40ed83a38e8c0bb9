"""The work queue, with a clock that only the test moves."""

import asyncio
from random import Random

import pytest

from tokenplace_harness.clock import FakeClock
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.workqueue import (
    PATIENCE_SECONDS,
    URGENT_TURNS,
    QueueClosedError,
    WorkQueue,
)

A, B, C = ("team", "a"), ("team", "b"), ("team", "c")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def queue(clock: FakeClock, metrics: Metrics) -> WorkQueue:
    return WorkQueue(clock, Random(1), metrics)


def test_a_key_waits_once_however_often_it_is_added(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B)
    queue.add(A)
    assert [queue.take(), queue.take(), queue.take()] == [A, B, None]


def test_a_key_is_never_with_two_workers_and_comes_back(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    queue.add(A)
    assert queue.take() is None
    queue.done(A)
    queue.forget(A)
    assert queue.take() == A
    queue.done(A)
    queue.forget(A)
    assert queue.take() is None


def test_urgent_keys_go_first_each_lane_in_its_order(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B, urgent=True)
    queue.add(C, urgent=True)
    assert [queue.take() for _ in range(4)] == [B, C, A, None]


def test_a_waiting_key_can_become_urgent_and_is_still_there_once(queue: WorkQueue) -> None:
    queue.add(A)
    queue.add(B)
    queue.add(C, urgent=True)
    queue.add(B, urgent=True)
    queue.add(C)
    assert [queue.take() for _ in range(4)] == [C, B, A, None]


def test_a_key_that_a_worker_has_comes_back_as_urgent_as_it_was_added(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.add(B)
    queue.add(A, urgent=True)
    queue.add(A)
    queue.done(A)
    queue.forget(A)
    assert [queue.take() for _ in range(3)] == [A, B, None]


def test_an_ordinary_key_waits_for_urgent_ones_only_so_long(
    queue: WorkQueue, clock: FakeClock
) -> None:
    queue.add(A)
    clock.now += PATIENCE_SECONDS - 1
    queue.add(B, urgent=True)
    queue.add(C, urgent=True)
    assert queue.take() == B
    clock.now += 1
    assert [queue.take() for _ in range(3)] == [A, C, None]


def test_an_old_backlog_and_urgent_keys_take_turns(queue: WorkQueue, clock: FakeClock) -> None:
    """Else a thousand relays that a restart queued would go before a new one for minutes."""
    backlog = [("team", str(number)) for number in range(1000)]
    for key in backlog:
        queue.add(key)
    clock.now += PATIENCE_SECONDS + 1
    assert [queue.take(), queue.take()] == backlog[:2]
    new = [("new", str(number)) for number in range(URGENT_TURNS + 1)]
    for key in new:
        queue.add(key, urgent=True)
    turns = [queue.take() for _ in range(URGENT_TURNS + 4)]
    assert turns == [*new[:-1], backlog[2], new[-1], *backlog[3:5]]


def test_new_relays_do_not_hold_up_an_old_backlog(queue: WorkQueue, clock: FakeClock) -> None:
    backlog = [("team", str(number)) for number in range(3)]
    for key in backlog:
        queue.add(key)
    for number in range(100):
        queue.add(("new", str(number)), urgent=True)
    clock.now += PATIENCE_SECONDS
    turns = [queue.take() for _ in range(3 * (URGENT_TURNS + 1))]
    assert [key for key in turns if key in backlog] == backlog


def wait_until_ready(queue: WorkQueue, clock: FakeClock, step: float) -> float:
    """Move the clock until the key can be taken; return how long that was."""
    started = clock.now
    while queue.take() is None:
        clock.now += step
        assert clock.now - started < 1000
    return clock.now - started


def test_failures_back_off_doubling_up_to_five_minutes(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add(A)
    assert queue.take() == A
    waits = []
    for _ in range(14):
        queue.done(A)
        queue.add_rate_limited(A)
        waits.append(wait_until_ready(queue, clock, step=0.005))
    for number, wait in enumerate(waits):
        full = min(0.1 * 2**number, 300.0)
        assert 0.75 * full <= wait <= full + 0.01


def test_success_resets_the_backoff(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add(A)
    assert queue.take() == A
    for _ in range(8):
        queue.done(A)
        queue.add_rate_limited(A)
        wait_until_ready(queue, clock, step=0.1)
    queue.done(A)
    queue.forget(A)
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    queue.add_rate_limited(A)
    assert wait_until_ready(queue, clock, step=0.01) <= 0.11


def test_a_retry_waits_at_least_as_long_as_the_server_asked(
    queue: WorkQueue, clock: FakeClock
) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    queue.add_rate_limited(A, at_least=7.0)
    assert wait_until_ready(queue, clock, step=0.5) == 7.0


def test_add_after_keeps_the_earliest_time(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add_after(A, 60)
    queue.add_after(A, 5)
    queue.add_after(A, 30)
    assert queue.take() is None
    clock.now += 5
    assert queue.take() == A
    queue.done(A)
    queue.forget(A)
    clock.now += 100
    assert queue.take() is None


def test_taking_a_key_drops_its_timer(queue: WorkQueue, clock: FakeClock) -> None:
    queue.add_after(A, 5)
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    queue.forget(A)
    clock.now += 10
    assert queue.take() is None


async def test_get_wakes_for_a_key_and_for_a_timer(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    queue = WorkQueue(loop.time, Random(1), metrics)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await asyncio.wait_for(getting, 1) == A
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after(B, 0.02)
    assert await asyncio.wait_for(getting, 1) == B


async def test_many_workers_share_the_keys(metrics: Metrics) -> None:
    queue = WorkQueue(asyncio.get_running_loop().time, Random(1), metrics)
    held: set[tuple[str, str]] = set()
    done: list[tuple[str, str]] = []
    finished = asyncio.Event()

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in held
            held.add(key)
            if len(done) < 50:
                queue.add(key)
            await asyncio.sleep(0)
            held.discard(key)
            done.append(key)
            queue.done(key)
            queue.forget(key)
            if len(done) >= 60:
                finished.set()

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for number in range(20):
        queue.add(("team", str(number)))
    await asyncio.wait_for(finished.wait(), 2)
    queue.close()
    results = await asyncio.gather(*workers, return_exceptions=True)
    assert {type(result) for result in results} == {QueueClosedError}


async def test_close_sends_waiting_workers_home(queue: WorkQueue) -> None:
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    queue.add(A)
    with pytest.raises(QueueClosedError):
        await asyncio.wait_for(getting, 1)


def test_metrics_report_depth_and_the_oldest_running_key(
    queue: WorkQueue, clock: FakeClock, metrics: Metrics
) -> None:
    queue.add(A)
    queue.add(B)
    assert metrics.registry.get_sample_value("tokenplace_operator_workqueue_depth") == 2
    queue.take()
    clock.now += 3
    queue.take()
    clock.now += 4
    value = metrics.registry.get_sample_value
    assert value("tokenplace_operator_workqueue_depth") == 0
    assert value("tokenplace_operator_workqueue_longest_running_seconds") == 7
    assert value("tokenplace_operator_workqueue_unfinished_work_seconds") == 11
    assert value("tokenplace_operator_workqueue_adds_total") == 2
