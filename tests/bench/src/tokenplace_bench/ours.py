"""The operator itself: creation, restart, idle, repair, memory and CPU at each number of relays."""

import asyncio
import itertools
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tokenplace_bench.arrivals import Arrivals
from tokenplace_bench.processes import Usage
from tokenplace_bench.relays import create
from tokenplace_bench.stage import Stage, times, until
from tokenplace_cluster.control_plane import audit
from tokenplace_cluster.subjects.operator_process import PROGRAM, RUN, OperatorProcess, total
from tokenplace_operator.api.kinds import RELAY, Key, Kind, Object

PREFIX = "tokenplace_operator"
SETTLE_SECONDS = 600.0
QUIET_SECONDS = 3.0
LOOK_SECONDS = 0.25
WAIT_SECONDS = 2.0
WAIT_SHARE = 0.05
"""Of the time that it took so far: the next look changes the times found by no more than that."""
MOST_REPAIRS = 8
WRITES = ("PATCH", "POST", "DELETE")
"""Methods; the Lease is renewed by PUT."""
PROFILED = "import cProfile; cProfile.run({program!r}, {path!r})"


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator is run and for how long it is measured."""

    workers: int
    idle_seconds: float
    repairs: int
    python: str
    profile: Path | None = None


@dataclass(slots=True)
class Running:
    """The operator's process of now; a restart replaces it."""

    stage: Stage
    settings: Settings
    process: OperatorProcess
    starts: int = 1

    @classmethod
    def on(cls, stage: Stage, settings: Settings) -> "Running":
        """Start it on a stage."""
        return cls(stage, settings, _start(stage, settings, 0))

    def start_again(self) -> None:
        """Start a new process; the one before must have ended."""
        self.process = _start(self.stage, self.settings, self.starts)
        self.starts += 1

    def usage(self) -> Usage:
        """What the process has used."""
        return Usage.of(self.process.popen.pid)

    async def settled(self, reconciles: int) -> tuple[float, Usage]:
        """Wait until this many reconciles are done, all relays are Ready and nothing is written.

        Returns the time of the last change and what was used until then. Reconciles that only poll
        continue indefinitely where something is missing, and are no change.
        """
        await until(self.process.leads, SETTLE_SECONDS)
        started = time.monotonic()
        last, since, used = -1.0, started, self.usage()
        while True:
            found = await asyncio.to_thread(self.process.metrics)
            done = total(found, f"{PREFIX}_reconcile_total")
            written = sum(total(found, f"{PREFIX}_kube_requests_total", method=m) for m in WRITES)
            relays = f"{PREFIX}_relays"
            waiting = total(found, relays) - total(found, relays, ready="True")
            now = time.monotonic()
            busy = found[f"{PREFIX}_workqueue_depth", frozenset()] > 0
            if written != last or busy or done < reconciles or waiting:
                last, since, used = written, now, self.usage()
            elif now - since >= QUIET_SECONDS:
                return since, used
            if now - started > SETTLE_SECONDS:
                raise TimeoutError(f"{done:g} reconciles, {waiting:g} relays are not Ready")
            # Each look costs the operator CPU for all of its relays, and readiness is the
            # controllers' work: at regular times this would grow with the square of the relays.
            wait = max(WAIT_SECONDS, (now - started) * WAIT_SHARE)
            await asyncio.sleep(LOOK_SECONDS if done < reconciles else wait)


async def measure(repeats: dict[int, int], settings: Settings) -> Object:
    """All that is measured of the operator, by the number of relays."""
    async with _warm(settings) as running:
        return {
            str(count): await _measure(running, count, rounds) for count, rounds in repeats.items()
        }


async def measure_creation(repeats: dict[int, int], settings: Settings) -> Object:
    """Seconds from the first creation to the last child, once for each number of relays."""
    results: Object = {}
    for count in repeats:
        async with _warm(settings) as running:
            seconds = round(await running.stage.seconds_to_create(f"ours-{count}", count), 3)
            results[str(count)] = {"all_seconds": [seconds]}
    return results


@asynccontextmanager
async def _warm(settings: Settings) -> AsyncIterator[Running]:
    """An operator on a fresh control plane, with one relay made."""
    async with Stage.open() as stage:
        running = Running.on(stage, settings)
        try:
            await stage.warm_up()
            yield running
        finally:
            if running.process.popen.poll() is None:
                running.process.end(signal.SIGTERM)


async def _measure(running: Running, count: int, rounds: int) -> Object:
    stage = running.stage
    seconds: list[float] = []
    found: Object = {}
    for number in range(rounds):
        name = f"ours-{count}-{number}"
        async with stage.namespace(name) as (arrivals, each):
            before, asked = running.usage(), audit.now()
            started = time.monotonic()
            await create(stage.kube, name, count)
            seconds.append(await arrivals.complete(times(each, count)) - started)
            ended, used = await running.settled(count)
            found["settled_seconds"] = round(ended - started, 3)
            found["creation_cpu_seconds"] = round(used.cpu - before.cpu, 2)
            found["creation_writes"] = _counted(stage, asked)
            if number == rounds - 1:
                found |= await _at_rest(running, arrivals)
    return {
        "seconds": round(statistics.median(seconds), 3),
        "all_seconds": [round(one, 3) for one in seconds],
        **found,
    }


async def _at_rest(running: Running, arrivals: Arrivals) -> Object:
    """Restart, idle time and repairs while all relays of this and of smaller numbers exist."""
    stage, settings = running.stage, running.settings
    relays, _ = await stage.kube.list(RELAY)
    count = len(relays)
    peak = running.usage().peak
    running.process.end(signal.SIGTERM)
    asked = audit.now()
    started = time.monotonic()
    running.start_again()
    ended, used = await running.settled(count)
    restart_writes, fresh = _counted(stage, asked), running.usage()
    asked = audit.now()
    await asyncio.sleep(settings.idle_seconds)
    idle_writes, idle = _counted(stage, asked), running.usage()
    children = [(kind, key) for kind, found in arrivals.uids.items() for key in found]
    random.shuffle(children)
    # More deletions of one child in a row would start the operator's write backoff.
    number = min(settings.repairs, MOST_REPAIRS * len(children))
    repairs = [
        await _repair(stage, arrivals, *child)
        for child in itertools.islice(itertools.cycle(children), number)
    ]
    await running.settled(count)
    return {
        "relays": count,
        "restart_seconds": round(ended - started, 3),
        "restart_cpu_seconds": round(used.cpu, 2),
        "restart_writes": restart_writes,
        "idle_seconds": settings.idle_seconds,
        "idle_writes": idle_writes,
        "idle_cpu_percent": round(100 * (idle.cpu - fresh.cpu) / settings.idle_seconds, 2),
        "repair_p50_seconds": round(statistics.median(repairs), 4),
        "repair_p99_seconds": round(statistics.quantiles(repairs, n=100)[98], 4),
        "repair_max_seconds": round(max(repairs), 4),
        "repairs": len(repairs),
        "rss_mib": round(running.usage().rss, 1),
        "peak_mib": round(max(peak, running.usage().peak), 1),
    }


async def _repair(stage: Stage, arrivals: Arrivals, kind: Kind, key: Key) -> float:
    """Delete a child; seconds from the answer to the delete to the sight of the new one."""
    uid = arrivals.uids[kind][key]
    await stage.kube.delete(kind, *key, uid=uid)
    started = time.monotonic()
    return max(0.0, await arrivals.replaced(kind, key, uid) - started)


def _counted(stage: Stage, since: str) -> dict[str, int]:
    """Writes by what was written."""
    found = Counter(
        f"{one.verb} {one.resource}" + (f"/{one.subresource}" if one.subresource else "")
        for one in stage.writes(since)
    )
    return dict(sorted(found.items()))


def _start(stage: Stage, settings: Settings, number: int) -> OperatorProcess:
    command = [settings.python, *RUN[1:]]
    if settings.profile is not None:
        path = settings.profile.with_name(f"{number}-{settings.profile.name}")
        code = PROFILED.format(program=PROGRAM, path=str(path))
        command[command.index(PROGRAM)] = code
    log = stage.folder / f"operator-{number}.log"
    flags = ("--metrics-port=0", f"--workers={settings.workers}")
    return OperatorProcess(log, stage.kubeconfig, *flags, command=command)
