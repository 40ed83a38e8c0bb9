"""The lifecycle of one process: login, standby, leadership, and shutdown in a safe order."""

import asyncio
import signal
import time
from typing import Any

from tokenplace_operator import __version__
from tokenplace_operator.cache.watch import watch
from tokenplace_operator.clock import utc_now
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import KubeError
from tokenplace_operator.logs import get_logger
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.health import Health, serve
from tokenplace_operator.runtime.leader_election import Elector, LeaseLostError, LeaseTimes
from tokenplace_operator.settings import Config
from tokenplace_operator.wiring import Components, MakeReconcile, assemble, reconciler

KOPF_STOP_SECONDS = 8.0

log = get_logger(__name__)


async def operate(config: Config, make_reconcile: MakeReconcile = reconciler) -> int:
    """Run one process from login to exit; returns the exit code."""
    metrics = Metrics()
    stop = asyncio.Event()
    _on_signals(stop)
    try:
        async with Kube.connect(metrics) as kube:
            components = assemble(kube, config, metrics, make_reconcile)
            health = Health(time.monotonic, components.queue.longest_running, metrics)
            async with serve(health, metrics, config.metrics_port) as port:
                log.info("started", version=__version__, port=port, server=kube.server)
                return await _elect(kube, config, components, health, stop)
    except (KubeError, OSError) as error:
        log.error("stopped by an error", error=str(error))  # noqa: TRY400 (no traceback needed)
        return 1


async def _elect(
    kube: Kube, config: Config, components: Components, health: Health, stop: asyncio.Event
) -> int:
    """Wait for leadership or a signal, then lead; returns the exit code."""
    elector = Elector(
        kube,
        namespace=config.lease_namespace,
        name=config.lease_name,
        identity=config.identity,
        times=LeaseTimes.of(config.lease_seconds),
        metrics=components.metrics,
        clock=time.monotonic,
        now=utc_now,
    )
    # Before any write: a process that was suspended past its lease must not continue to write.
    kube.guard_writes(elector.holds)
    # A standby is ready too. Otherwise the rollout of a new operator would wait for a pod that
    # waits for the old one's Lease.
    health.ready = True
    acquiring = asyncio.create_task(elector.acquire(), name="acquire")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await _cancel(acquiring)
            # The Lease may have been acquired at the same moment as the signal came.
            await elector.release()
            return 0
        await acquiring
        return await _lead(kube, config, components, health=health, elector=elector, stop=stop)
    finally:
        await _cancel(stopping)


async def _lead(
    kube: Kube,
    config: Config,
    components: Components,
    *,
    health: Health,
    elector: Elector,
    stop: asyncio.Event,
) -> int:
    """Work until a signal, a lost Lease or a lost watch; then stop in a safe order.

    Workers stop before the Lease is released, so that two leaders never write at the same time.
    """
    kopf_stop, kopf_ready = asyncio.Event(), asyncio.Event()
    keeping = asyncio.create_task(elector.keep(), name="lease")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    reclaiming = asyncio.create_task(_reclaim_signals(kopf_ready, stop), name="signals")
    working = asyncio.create_task(
        _work(kube, config, components, kopf_stop, kopf_ready), name="work"
    )
    try:
        await asyncio.wait({keeping, stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        health.ready = False
        code = _exit_code(keeping, stopping, working)
        # Before that, `_work` may still wait for the API server and does not read kopf's stop flag.
        if not kopf_ready.is_set():
            await _cancel(working)
        lost = keeping.done()
        # Without the Lease another leader may write already, so running reconciles get no time.
        await components.controller.drain(0.0 if lost else config.drain_seconds)
        if not lost:
            await _cancel(keeping)
            await elector.release()
        # After the release: kopf's exit can take 5 s, and the next leader need not wait for it.
        kopf_stop.set()
        await asyncio.wait({working}, timeout=KOPF_STOP_SECONDS)
        log.info("stopped", code=code)
        return code
    finally:
        await _cancel(keeping, stopping, reclaiming, working)


async def _work(
    kube: Kube,
    config: Config,
    components: Components,
    kopf_stop: asyncio.Event,
    kopf_ready: asyncio.Event,
) -> None:
    """Fill the store and start the workers, then watch."""
    # In this order, because kopf cancels at its exit all tasks that were created after it started.
    await components.controller.start()
    await watch(
        kube,
        components.handler,
        config.namespaces,
        stop=kopf_stop,
        ready=kopf_ready,
        idle_seconds=config.watch_idle_seconds,
    )


def _exit_code(
    keeping: asyncio.Task[None], stopping: asyncio.Task[Any], working: asyncio.Task[None]
) -> int:
    """Log why the leader stops, and return the exit code."""
    if keeping.done():
        error = keeping.exception()
        expected = isinstance(error, LeaseLostError)
        log.error("leadership lost", error=str(error), exc_info=None if expected else error)
        return 1
    failure = working.exception() if working.done() else None
    if failure is not None and not stopping.done():
        log.error("watching failed", error=str(failure), type=type(failure).__name__)
        return 1
    # Without our signal and without a failure, kopf got the signal before we took signals back.
    log.info("received SIGTERM, shutting down")
    return 0


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _reclaim_signals(kopf_ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Install our signal handlers again after kopf has replaced them at its start."""
    await kopf_ready.wait()
    _on_signals(stop)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
