"""The program `tokenplace-operator`: wires the parts, leads or stands by, and stops in order."""

import asyncio
import gc
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenplace_operator import __version__, logs
from tokenplace_operator.cache.watch import watch
from tokenplace_operator.kube import upgrade_crd
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import KubeError
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.health import Health, serve
from tokenplace_operator.runtime.leader_election import Elector, LeaseLostError, LeaseTimes
from tokenplace_operator.settings import Config, ConfigError
from tokenplace_operator.wiring import MakeReconcile, Parts, assemble, reconciler, utc_now

KOPF_STOP_SECONDS = 8.0

log = logs.get_logger(__name__)
cli = typer.Typer(help="Keeps TokenplaceRelay resources running.", no_args_is_help=True)


@cli.callback()
def root() -> None:
    """Keep TokenplaceRelay resources running."""


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@cli.command()
def run(
    *,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            help="Watch this namespace only; may be repeated. Default: the whole cluster.",
            envvar="TOKENPLACE_OPERATOR_NAMESPACE",
        ),
    ] = None,
    metrics_port: Annotated[
        int,
        typer.Option(
            help="Port of /livez, /readyz and /metrics.", envvar="TOKENPLACE_OPERATOR_METRICS_PORT"
        ),
    ] = 8080,
    lease_namespace: Annotated[
        str,
        typer.Option(
            help="Namespace of the Lease; the operator's own.",
            envvar="TOKENPLACE_OPERATOR_LEASE_NAMESPACE",
        ),
    ] = "tokenplace-system",
    lease_seconds: Annotated[
        float,
        typer.Option(
            help="How long a leader that died blocks the next one.",
            envvar="TOKENPLACE_OPERATOR_LEASE_SECONDS",
        ),
    ] = 15.0,
    workers: Annotated[
        int,
        typer.Option(help="Reconciles at a time.", envvar="TOKENPLACE_OPERATOR_WORKERS"),
    ] = 4,
    resync_seconds: Annotated[
        float,
        typer.Option(
            help="Seconds between full lists, which heal what a watch may have lost.",
            envvar="TOKENPLACE_OPERATOR_RESYNC_SECONDS",
        ),
    ] = 600.0,
    look_seconds: Annotated[
        float,
        typer.Option(
            help="Seconds between looks for optional APIs: prometheus-operator, Gateway API.",
            envvar="TOKENPLACE_OPERATOR_LOOK_SECONDS",
        ),
    ] = 30.0,
    silence_seconds: Annotated[
        float,
        typer.Option(
            help="Seconds after which a watch that says nothing is taken up anew.",
            envvar="TOKENPLACE_OPERATOR_SILENCE_SECONDS",
        ),
    ] = 70.0,
    log_level: Annotated[
        str,
        typer.Option(help="DEBUG, INFO, WARNING or ERROR.", envvar="TOKENPLACE_OPERATOR_LOG_LEVEL"),
    ] = "INFO",
) -> None:
    """Run until SIGTERM. Exit code 0 after SIGTERM, 1 when leadership or a watch is lost."""
    try:
        config = Config(
            namespaces=tuple(namespace or ()),
            metrics_port=metrics_port,
            lease_namespace=lease_namespace,
            lease_seconds=lease_seconds,
            workers=workers,
            resync_seconds=resync_seconds,
            look_seconds=look_seconds,
            silence_seconds=silence_seconds,
            log_level=log_level.upper(),
        )
    except ConfigError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    logs.configure(config.log_level)
    # What was imported stays: no look for garbage needs to go through it.
    gc.freeze()
    sys.exit(asyncio.run(operate(config)))


@cli.command("upgrade-crd")
def upgrade_crd_command(
    path: Annotated[Path, typer.Argument(help="The CustomResourceDefinition as JSON.")],
) -> None:
    """Bring the kind in the cluster up to date. Exit code 0 when it is, 1 when it cannot be."""
    try:
        asyncio.run(upgrade_crd.upgrade(upgrade_crd.read(path)))
    except (ConfigError, KubeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    typer.echo(f"{upgrade_crd.NAME} is up to date")


async def operate(config: Config, make_reconcile: MakeReconcile = reconciler) -> int:
    """Run one process from login to exit; returns the exit code."""
    metrics = Metrics()
    stop = asyncio.Event()
    _on_signals(stop)
    try:
        async with Kube.connect(metrics) as kube:
            parts = assemble(kube, config, metrics, make_reconcile)
            health = Health(time.monotonic, parts.queue.longest_running, metrics)
            async with serve(health, metrics, config.metrics_port) as port:
                log.info("started", version=__version__, port=port, server=kube.server)
                return await _elect(kube, config, parts, health, stop)
    except (KubeError, OSError) as error:
        log.error("stopped by an error", error=str(error))  # noqa: TRY400 (its text says it all)
        return 1


async def _elect(
    kube: Kube, config: Config, parts: Parts, health: Health, stop: asyncio.Event
) -> int:
    elector = Elector(
        kube,
        namespace=config.lease_namespace,
        name=config.lease_name,
        identity=config.identity,
        times=LeaseTimes.of(config.lease_seconds),
        metrics=parts.metrics,
        clock=time.monotonic,
        now=utc_now,
    )
    kube.guard_writes(elector.holds)
    health.ready = True
    acquiring = asyncio.create_task(elector.acquire(), name="acquire")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await _cancel(acquiring)
            await elector.release()
            return 0
        await acquiring
        return await _lead(kube, config, parts, health=health, elector=elector, stop=stop)
    finally:
        await _cancel(stopping)


async def _lead(
    kube: Kube,
    config: Config,
    parts: Parts,
    *,
    health: Health,
    elector: Elector,
    stop: asyncio.Event,
) -> int:
    """Work until a signal, a lost Lease or a lost watch; then stop in the order that is safe."""
    kopf_stop, kopf_ready = asyncio.Event(), asyncio.Event()
    keeping = asyncio.create_task(elector.keep(), name="lease")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    rewiring = asyncio.create_task(_rewire(kopf_ready, stop), name="signals")
    working = asyncio.create_task(_work(kube, config, parts, kopf_stop, kopf_ready), name="work")
    try:
        await asyncio.wait({keeping, stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        health.ready = False
        code = _why(keeping, stopping, working)
        if not kopf_ready.is_set():
            await _cancel(working)
        lost = keeping.done()
        await parts.controller.drain(0.0 if lost else config.drain_seconds)
        if not lost:
            await _cancel(keeping)
            await elector.release()
        kopf_stop.set()
        await asyncio.wait({working}, timeout=KOPF_STOP_SECONDS)
        log.info("stopped", code=code)
        return code
    finally:
        await _cancel(keeping, stopping, rewiring, working)


async def _work(
    kube: Kube,
    config: Config,
    parts: Parts,
    kopf_stop: asyncio.Event,
    kopf_ready: asyncio.Event,
) -> None:
    """Fill the store and start the workers, then watch: kopf ends tasks younger than itself."""
    await parts.controller.start()
    await watch(
        kube,
        parts.handler,
        config.namespaces,
        stop=kopf_stop,
        ready=kopf_ready,
        silence_seconds=config.silence_seconds,
    )


def _why(
    keeping: asyncio.Task[None], stopping: asyncio.Task[Any], working: asyncio.Task[None]
) -> int:
    """Say why the leader stops, and return the exit code."""
    if keeping.done():
        error = keeping.exception()
        expected = isinstance(error, LeaseLostError)
        log.error("leadership lost", error=str(error), exc_info=None if expected else error)
        return 1
    failure = working.exception() if working.done() else None
    if failure is not None and not stopping.done():
        log.error("the work failed", error=str(failure), type=type(failure).__name__)
        return 1
    # Without a failure and a signal of ours, kopf had the signal before we took signals back.
    log.info("stopping on a signal")
    return 0


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _rewire(kopf_ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Take the signals back from kopf once it has taken them."""
    await kopf_ready.wait()
    _on_signals(stop)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
