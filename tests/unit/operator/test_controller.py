"""The workers: results and errors of reconciles, draining, the resync ticker."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from tokenplace_operator.api.kinds import Key
from tokenplace_operator.kube.errors import Forbidden, Invalid, Unavailable
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.reconcile.result import Result
from tokenplace_operator.runtime.controller import Controller
from tokenplace_operator.runtime.workqueue import WorkQueue

A, B = ("team", "a"), ("team", "b")


class Bench:
    """A controller around a reconcile of the test, and what it saw."""

    def __init__(self, reconcile: Callable[[Key], Awaitable[Result]], resynced: list[Key]) -> None:
        self.metrics = Metrics()
        self.queue = WorkQueue(asyncio.get_running_loop().time, Random(1), self.metrics)
        self.resyncs = 0
        self.resync_error: Exception | None = None
        self.resynced = resynced
        self.naps: list[float] = []
        self.nap_over = asyncio.Semaphore(0)
        self.controller = Controller(
            self.queue,
            reconcile,
            self.resync,
            self.metrics,
            workers=2,
            resync_seconds=600,
            rng=Random(1),
            sleep=self.sleep,
        )

    async def resync(self) -> list[Key]:
        self.resyncs += 1
        if self.resync_error is not None:
            raise self.resync_error
        return self.resynced

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        await self.nap_over.acquire()

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"tokenplace_operator_{name}", labels) or 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (counters have no event to wait for)
            await asyncio.sleep(0.001)


async def test_start_reconciles_all_that_the_resync_names() -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key)
        return Result()

    bench = Bench(reconcile, [A, B])
    await bench.controller.start()
    await until(lambda: len(seen) == 2)
    await bench.controller.drain(1)
    assert sorted(seen) == [A, B]
    assert bench.count("reconcile_total", result="ok") == 2


async def test_requeue_after_brings_the_key_back() -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key)
        return Result(requeue_after=0.01 if len(seen) < 3 else None)

    bench = Bench(reconcile, [A])
    await bench.controller.start()
    await until(lambda: len(seen) == 3)
    await bench.controller.drain(1)
    assert bench.count("reconcile_total", result="requeued") == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable(503, "ServiceUnavailable", "down"), "ServiceUnavailable"),
        (ZeroDivisionError("a bug"), "Bug"),
    ],
)
async def test_a_failure_is_counted_and_retried(error: Exception, reason: str) -> None:
    tries = 0

    async def reconcile(_: Key) -> Result:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise error
        return Result()

    bench = Bench(reconcile, [A])
    await bench.controller.start()
    await until(lambda: tries == 2)
    await bench.controller.drain(1)
    assert bench.count("reconcile_errors_total", reason=reason) == 1
    assert bench.count("reconcile_total", result="ok") == 1


async def test_an_invalid_object_does_not_cause_a_storm() -> None:
    tries = 0

    async def reconcile(_: Key) -> Result:
        nonlocal tries
        tries += 1
        raise Invalid(422, "Invalid", "spec is wrong")

    bench = Bench(reconcile, [A])
    await bench.controller.start()
    await until(lambda: bench.count("reconcile_errors_total", reason="Invalid") == 1)
    await asyncio.sleep(0.2)  # The first backoff is 0.1 s: without the rule it had come again.
    await bench.controller.drain(1)
    assert tries == 1


async def test_drain_lets_a_running_reconcile_finish_and_takes_no_other() -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    finished: list[Key] = []

    async def reconcile(key: Key) -> Result:
        entered.set()
        await go.wait()
        finished.append(key)
        return Result()

    bench = Bench(reconcile, [A])
    await bench.controller.start()
    await entered.wait()
    draining = asyncio.create_task(bench.controller.drain(2))
    await asyncio.sleep(0)
    bench.queue.add(B)
    go.set()
    await draining
    assert finished == [A]


async def test_drain_cancels_what_takes_too_long() -> None:
    entered = asyncio.Event()
    cancelled = asyncio.Event()

    async def reconcile(_: Key) -> Result:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Result()

    bench = Bench(reconcile, [A])
    await bench.controller.start()
    await entered.wait()
    await bench.controller.drain(0.01)
    assert cancelled.is_set()
    assert bench.queue.longest_running() == 0


@pytest.mark.parametrize("error", [Unavailable(0, "Timeout", "no answer"), KeyError("items")])
async def test_the_ticker_resyncs_and_survives_what_fails(error: Exception) -> None:
    seen: list[Key] = []

    async def reconcile(key: Key) -> Result:
        seen.append(key)
        return Result()

    bench = Bench(reconcile, [A])
    await bench.controller.start()
    await until(lambda: len(seen) == 1 and len(bench.naps) == 1)
    bench.resync_error = error
    bench.nap_over.release()
    await until(lambda: len(bench.naps) == 2)
    bench.resync_error = None
    bench.nap_over.release()
    await until(lambda: len(seen) == 2)
    await bench.controller.drain(1)
    assert bench.resyncs == 3
    assert all(540 <= nap <= 660 for nap in bench.naps)


async def test_a_busy_server_delays_the_start_and_a_missing_right_ends_it() -> None:
    bench = Bench(lambda _: asyncio.sleep(0, Result()), [])
    bench.resync_error = Unavailable(429, "TooManyRequests", "busy", 3.0)
    starting = asyncio.create_task(bench.controller.start())
    for _ in range(4):
        bench.nap_over.release()
    await until(lambda: len(bench.naps) == 5)
    assert bench.naps == [3.0, 3.0, 3.0, 4.0, 8.0]
    bench.resync_error = Forbidden(403, "Forbidden", "no")
    bench.nap_over.release()
    with pytest.raises(Forbidden):
        await starting
