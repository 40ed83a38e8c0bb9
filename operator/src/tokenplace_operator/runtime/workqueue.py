"""The queue of relay keys between events and workers.

A key is in the queue once, however often it is added, and never with two workers: a key that is
added while a worker has it returns to the queue when that worker is done. As in client-go, a
worker calls `done` after each key, and `forget` after a success or `add_rate_limited` after a
failure.

There are two lanes. Urgent keys go before ordinary ones, so a change of a spec does not wait for
status updates. Once an ordinary key has waited `PATIENCE_SECONDS`, one goes after every
`URGENT_TURNS` urgent ones, so that neither lane starves.
"""

import asyncio
import heapq
from collections.abc import Callable
from random import Random

from tokenplace_operator.api.kinds import Key
from tokenplace_operator.metrics import Metrics

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 300.0
PATIENCE_SECONDS = 30.0
URGENT_TURNS = 4


class QueueClosedError(Exception):
    """The queue was closed: workers end."""


class WorkQueue:
    """Keys with their times in seconds of a monotonic clock; used from one event loop only."""

    def __init__(self, clock: Callable[[], float], rng: Random, metrics: Metrics) -> None:
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        # Dicts as ordered sets: a key that becomes urgent leaves the middle of its lane.
        self._urgent: dict[Key, None] = {}
        self._ordinary: dict[Key, None] = {}
        self._waiting_since: dict[Key, float] = {}
        self._running_since: dict[Key, float] = {}
        self._dirty: dict[Key, bool] = {}
        """Keys that were added while a worker had them, and whether as urgent."""
        self._due: dict[Key, float] = {}
        self._timers: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._turns = URGENT_TURNS
        """Urgent keys that were taken since the last overdue ordinary one."""
        self._changed = asyncio.Event()
        self._closed = False
        metrics.queue_depth.set_function(lambda: len(self._waiting_since))
        metrics.queue_unfinished.set_function(self._unfinished)
        metrics.queue_longest.set_function(self.longest_running)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Queue a key; a key that waits already can become urgent."""
        if self._closed:
            return
        if key not in self._waiting_since:
            self._waiting_since[key] = self._clock()
            self._metrics.queue_adds.inc()
        if key in self._running_since:
            # The running reconcile may have read the store before this event, so one more is
            # needed.
            self._dirty[key] = urgent or self._dirty.get(key, False)
        else:
            self._line_up(key, urgent=urgent)

    def add_after(self, key: Key, seconds: float) -> None:
        """Queue a key later; the earliest of several times counts."""
        due = self._clock() + seconds
        if self._closed or due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._timers, (due, key))
        # A waiting worker sleeps until the earliest time, which may be this one now.
        self._changed.set()

    def add_rate_limited(self, key: Key, at_least: float = 0.0) -> None:
        """Queue a key that failed, after its backoff or `at_least` seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._metrics.queue_retries.inc()
        self.add_after(key, max(at_least, self._backoff(failures)))

    def forget(self, key: Key) -> None:
        """Reset the backoff of a key that succeeded."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for a key and keep it until `done`; raises QueueClosedError after `close`."""
        while True:
            if self._closed:
                raise QueueClosedError
            key = self.take()
            if key is not None:
                return key
            # No await since `take`, so no key can be added between the two.
            self._changed.clear()
            await self._wait()

    def take(self) -> Key | None:
        """Return a key that is ready now, or None."""
        now = self._clock()
        self._queue_due(now)
        lane = self._next_lane(now)
        if not lane:
            return None
        key = next(iter(lane))
        del lane[key]
        # The reconcile that starts now returns the time of the next one.
        self._due.pop(key, None)
        self._metrics.queue_wait.observe(now - self._waiting_since.pop(key))
        self._running_since[key] = now
        return key

    def done(self, key: Key) -> None:
        """Give a key back; it is queued again if it was added in the meantime."""
        self._metrics.queue_work.observe(self._clock() - self._running_since.pop(key))
        if key in self._dirty:
            self._line_up(key, urgent=self._dirty.pop(key))

    def close(self) -> None:
        """Reject new keys and end `get`; workers may still call `done`."""
        self._closed = True
        self._changed.set()

    def longest_running(self) -> float:
        """Age of the oldest running reconcile in seconds; 0 when idle."""
        now = self._clock()
        return max((now - since for since in self._running_since.values()), default=0.0)

    def _queue_due(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            due, key = heapq.heappop(self._timers)
            # A heap entry cannot be removed: one with another time was replaced or dropped.
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)

    def _line_up(self, key: Key, *, urgent: bool) -> None:
        if key in self._urgent:
            return
        if urgent:
            self._ordinary.pop(key, None)
            self._urgent[key] = None
        else:
            self._ordinary[key] = None
        self._changed.set()

    def _next_lane(self, now: float) -> dict[Key, None]:
        """The lane whose first key is served next; empty when both are."""
        oldest = next(iter(self._ordinary), None)
        overdue = oldest is not None and now - self._waiting_since[oldest] >= PATIENCE_SECONDS
        if not self._urgent or (overdue and self._turns >= URGENT_TURNS):
            self._turns = 0
            return self._ordinary
        self._turns += 1
        return self._urgent

    def _unfinished(self) -> float:
        now = self._clock()
        return sum(now - since for since in self._running_since.values())

    def _backoff(self, failures: int) -> float:
        """Doubling from 0.1 s to 300 s; the jitter takes off up to a quarter."""
        # 2**12 tenths of a second are above the limit already.
        seconds: float = FIRST_BACKOFF_SECONDS * 2 ** min(failures, 12)
        return min(seconds, MAX_BACKOFF_SECONDS) * (1 - 0.25 * self._rng.random())

    async def _wait(self) -> None:
        delay = self._timers[0][0] - self._clock() if self._timers else None
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return
