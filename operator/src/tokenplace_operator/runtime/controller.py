"""Workers between the queue and the reconciler, and tickers that resync store and optional APIs."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

from tokenplace_operator.api.kinds import Key
from tokenplace_operator.kube.errors import Invalid, KubeError, Unavailable
from tokenplace_operator.logs import get_logger, reconciling
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.reconcile.result import Result
from tokenplace_operator.runtime.workqueue import QueueClosedError, WorkQueue

log = get_logger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LAST_PAUSE_SECONDS = 15.0
"""Pauses between attempts to start double from the first to the last."""
INVALID_SECONDS = 30.0
"""Least delay after a rejected object: only a change of the relay helps, and that is an event."""

Reconcile = Callable[[Key], Awaitable[Result]]
Resync = Callable[[], Awaitable[list[Key]]]
Refresh = Callable[[], Awaitable[None]]


class Controller:
    """Runs `workers` reconciles at a time, and `resync` and `refresh` periodically (+-10 %)."""

    def __init__(
        self,
        queue: WorkQueue,
        reconcile: Reconcile,
        resync: Resync,
        metrics: Metrics,
        *,
        workers: int = 4,
        resync_seconds: float = 600.0,
        refresh: Refresh | None = None,
        refresh_seconds: float = 30.0,
        rng: Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._resync = resync
        self._metrics = metrics
        self._count = workers
        self._resync_seconds = resync_seconds
        self._refresh = refresh
        self._refresh_seconds = refresh_seconds
        self._rng = rng or Random()  # noqa: S311 (spreads load, guards nothing)
        self._sleep = sleep
        self._workers: list[asyncio.Task[None]] = []
        self._tickers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Fill the store, queue every relay, then start workers and tickers.

        Raises KubeError when a right is missing; waits while the API server is unavailable.
        """
        # Lists of our own, before any worker runs: kopf does not report when its first lists are
        # complete, and a half-filled store would cause needless writes.
        await self._retry_until_available(self._enqueue_all)
        if self._refresh is not None:
            await self._retry_until_available(self._refresh)
        self._workers = [
            asyncio.create_task(self._work(), name=f"worker-{n}") for n in range(self._count)
        ]
        self._tickers = [self._ticker("resync", self._enqueue_all, self._resync_seconds)]
        if self._refresh is not None:
            self._tickers.append(self._ticker("refresh", self._refresh, self._refresh_seconds))

    async def drain(self, seconds: float) -> None:
        """Close the queue, let running reconciles finish, and cancel them after `seconds`."""
        # First, so that a worker ends after its current key instead of taking the next one.
        self._queue.close()
        for ticker in self._tickers:
            ticker.cancel()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=seconds)
            for worker in late:
                worker.cancel()
        await asyncio.gather(*self._workers, *self._tickers, return_exceptions=True)

    async def _retry_until_available(self, action: Refresh) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await action()
            # Only this error passes by itself. A missing right ends the process with its text.
            except Unavailable as error:
                log.warning("start delayed", reason=error.reason, code=error.code)
                await self._sleep(max(pause, error.retry_after or 0.0))
                pause = min(pause * 2, LAST_PAUSE_SECONDS)
            else:
                return

    async def _enqueue_all(self) -> None:
        for key in await self._resync():
            self._queue.add(key)

    def _ticker(self, name: str, action: Refresh, seconds: float) -> asyncio.Task[None]:
        return asyncio.create_task(self._tick(name, action, seconds), name=name)

    async def _tick(self, name: str, action: Refresh, seconds: float) -> None:
        while True:
            await self._sleep(seconds * (0.9 + 0.2 * self._rng.random()))
            try:
                await action()
            except KubeError as error:
                log.warning("ticker failed", ticker=name, reason=error.reason, code=error.code)
            except Exception:
                # A bug. The task goes on, since no probe would notice that it has ended.
                log.exception("ticker crashed", ticker=name)

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosedError:
                return
            with reconciling(key):
                await self._process(key)

    async def _process(self, key: Key) -> None:
        """Reconcile one key; no error of one relay ends a worker."""
        started = time.monotonic()
        try:
            result = await self._reconcile(key)
        except KubeError as error:
            self._failed(key, error)
        except Exception:
            # A bug: counted, logged with its traceback, retried.
            log.exception("reconcile crashed")
            self._metrics.failed(1, "Bug")
            self._queue.add_rate_limited(key)
        else:
            self._succeeded(key, result)
        finally:
            # After the key's next time is set: `done` queues it at once if an event came meanwhile.
            self._queue.done(key)
            self._metrics.reconcile_duration.observe(time.monotonic() - started)

    def _succeeded(self, key: Key, result: Result) -> None:
        self._queue.forget(key)
        self._metrics.reconciles.labels("requeued" if result.requeue_after else "ok").inc()
        if result.requeue_after is not None:
            self._queue.add_after(key, result.requeue_after)

    def _failed(self, key: Key, error: KubeError) -> None:
        log.warning(
            "reconcile failed", code=error.code, reason=error.reason, message=error.message[:500]
        )
        self._metrics.failed(error.code, error.reason)
        self._queue.add_rate_limited(key, at_least=_least_delay(error))


def _least_delay(error: KubeError) -> float:
    if isinstance(error, Unavailable):
        return error.retry_after or 0.0
    return INVALID_SECONDS if isinstance(error, Invalid) else 0.0
