"""What the operator is compared with: the bare loop, the least operator, a plain kopf operator."""

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tokenplace_bench import plain
from tokenplace_bench.processes import Contender, Usage
from tokenplace_bench.relays import create
from tokenplace_bench.stage import Stage, times
from tokenplace_operator.api.kinds import Object

BARE = ["-m", "tokenplace_bench.bare"]
LEAST = ["-m", "tokenplace_bench.least"]

Play = Callable[[Stage, str, int, int], Coroutine[Any, Any, tuple[float, Usage]]]
"""A round in a namespace, with a number of relays and applies at a time: seconds and usage."""


async def measure_bare(repeats: dict[int, int], in_flight: int) -> Object:
    """Seconds from the first apply to the last child, by the number of relays."""
    async with Stage.open() as stage:
        return await _rounds(stage, repeats, "bare", in_flight, _bare)


async def measure_least(repeats: dict[int, int], in_flight: int) -> Object:
    """Seconds from the first creation to the last child, by the number of relays."""
    async with Stage.open() as stage:
        # The server's first apply to each kind takes longer; the other operators warm up as well.
        await _least(stage, "warm-up", 1, in_flight)
        return await _rounds(stage, repeats, "least", in_flight, _least)


async def _rounds(
    stage: Stage, repeats: dict[int, int], title: str, in_flight: int, play: Play
) -> Object:
    """Let a contender that is a new process each time play all its rounds."""
    results: Object = {}
    for count, rounds in repeats.items():
        seconds = []
        for number in range(rounds):
            found, usage = await play(stage, f"{title}-{count}-{number}", count, in_flight)
            seconds.append(found)
            results[str(count)] = _result(seconds, usage)
    return results


async def _bare(stage: Stage, name: str, count: int, in_flight: int) -> tuple[float, Usage]:
    async with stage.namespace(name) as (arrivals, each):
        await create(stage.kube, name, count)
        command = [*BARE, name, str(in_flight)]
        with Contender.start(command, stage.kubeconfig, stage.folder / "bare.log") as contender:
            assert await asyncio.to_thread(contender.hear) == "ready"
            started = time.monotonic()
            contender.say()
            seconds = await arrivals.complete(times(each, count)) - started
            assert await asyncio.to_thread(contender.hear) == "done"
            usage = Usage.of(contender.popen.pid)
            contender.say()
            return seconds, usage


async def _least(stage: Stage, name: str, count: int, in_flight: int) -> tuple[float, Usage]:
    async with stage.namespace(name) as (arrivals, each):
        command = [*LEAST, name, str(in_flight)]
        with Contender.start(command, stage.kubeconfig, stage.folder / "least.log") as contender:
            assert await asyncio.to_thread(contender.hear) == "ready"
            started = time.monotonic()
            await create(stage.kube, name, count)
            seconds = await arrivals.complete(times(each, count)) - started
            usage = Usage.of(contender.popen.pid)
            contender.say()
            return seconds, usage


async def measure_plain(repeats: dict[int, int]) -> Object:
    """Seconds from the first creation to the last child, by the number of relays."""
    results: Object = {}
    path = str(Path(plain.__file__))
    command = ["-m", "kopf", "run", "--standalone", "--all-namespaces", "--quiet", path]
    async with Stage.open() as stage:
        log = stage.folder / "plain.log"
        with Contender.start(command, stage.kubeconfig, log) as contender:
            await stage.warm_up()
            for count, rounds in repeats.items():
                seconds = []
                for number in range(rounds):
                    name = f"plain-{count}-{number}"
                    seconds.append(await stage.seconds_to_create(name, count))
                    results[str(count)] = _result(seconds, Usage.of(contender.popen.pid))
    return results


def _result(seconds: list[float], usage: Usage) -> Object:
    return {
        "seconds": round(statistics.median(seconds), 3),
        "all_seconds": [round(one, 3) for one in seconds],
        "rss_mib": round(usage.rss, 1),
        "peak_mib": round(usage.peak, 1),
        "cpu_seconds": round(usage.cpu, 2),
    }
