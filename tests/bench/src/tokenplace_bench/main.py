"""`tokenplace-bench operator`: the operator next to its baselines, on real control planes."""

import asyncio
import itertools
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tokenplace_bench import ours, rivals
from tokenplace_bench.table import table, verdicts
from tokenplace_operator.api.kinds import Object

QUIET_LOAD = 0.3
"""A load per core that is higher than this before the run is other people's work."""

Measure = Callable[[dict[int, int]], Coroutine[Any, Any, Object]]
"""Measures a contender, given how often each number of relays is created."""

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmarks on real parts.",
)


@cli.callback()
def root() -> None:
    """Measure on real parts."""


@cli.command("operator")
def bench_operator(
    *,
    counts: Annotated[str, typer.Option(help="Numbers of relays.")] = "1,100,1000",
    workers: Annotated[int, typer.Option(help="Reconciles at a time; applies for bare.")] = 4,
    idle: Annotated[float, typer.Option(help="Seconds of idle time that are watched.")] = 60.0,
    repairs: Annotated[int, typer.Option(help="Children that are deleted.")] = 200,
    turns: Annotated[
        int, typer.Option(help="How often the largest number is created; the median counts.")
    ] = 3,
    only: Annotated[str, typer.Option(help="ours, bare, least and plain, or some of them.")] = (
        "bare,least,plain,ours"
    ),
    python: Annotated[
        str, typer.Option(help="The Python that runs the operator, in an environment of its own.")
    ] = sys.executable,
    profile: Annotated[Path | None, typer.Option(help="Profile the operator into files.")] = None,
    output: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path(
        "bench-operator.json"
    ),
) -> None:
    """Measure creation, restart, idle, repair, memory and CPU. Exit code 1: a target is missed."""
    console = Console()

    def say(text: str) -> None:
        console.print(f"{datetime.now(UTC):%H:%M:%S} {text}")

    repeats = {int(one): rounds(int(one)) for one in counts.split(",")}
    results: Object = {"machine": machine()}
    settings = ours.Settings(workers, idle, repairs, python, profile)
    contenders: dict[str, Measure] = {
        "bare": lambda repeats: rivals.measure_bare(repeats, workers),
        "least": lambda repeats: rivals.measure_least(repeats, workers),
        "plain": rivals.measure_plain,
        "ours": lambda repeats: ours.measure(repeats, settings),
    }
    chosen = only.split(",")
    for name in chosen:
        load = results["machine"]["load_before"][name] = round(os.getloadavg()[0], 2)
        say(f"measuring: {name}, at a load of {load}")
        results[name] = asyncio.run(contenders[name](repeats))
    contenders["ours"] = lambda repeats: ours.measure_creation(repeats, settings)
    most = max(repeats)
    for turn, name in itertools.product(range(2, turns + 1), chosen):
        say(f"creating {most} again: {name}, turn {turn}")
        again = asyncio.run(contenders[name]({most: 1}))
        add_turn(results[name][str(most)], again[str(most)])
    output.write_text(json.dumps(results, indent=2) + "\n")
    console.print(table(results))
    found = verdicts(results)
    for one in found:
        console.print(("[green]met[/green]    " if one.met else "[red]missed[/red] ") + one.text)
    console.print(f"written to {output}")
    raise typer.Exit(0 if all(one.met for one in found) else 1)


def add_turn(result: Object, again: Object) -> None:
    """Put a further creation to those before; they take turns, as what the machine does changes."""
    result["all_seconds"] += again["all_seconds"]
    result["seconds"] = round(statistics.median(result["all_seconds"]), 3)


def rounds(count: int) -> int:
    """How often a number of relays is created; the median counts. Small ones are over soon."""
    return 5 if count <= 10 else 1


def machine() -> Object:
    """What it ran on, and whether something else ran there too."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": cores,
        "python": platform.python_version(),
        "load_before": {},
        "other_work": load / cores > QUIET_LOAD,
    }


if __name__ == "__main__":
    cli()
