"""`make bench-relay`: our relay, bare aiohttp as the limit, and any relay given by URL.

Everything is measured in one run on one machine; the load comes from a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from tokenplace_harness.process import PROGRAM, cpu_of, memory_of, relay_process

Result = dict[str, Any]
# What a benchmark does from one address, a relay would rightly refuse.
UNLIMITED = {
    "API_RATE_LIMIT": "off",
    "API_DAILY_QUOTA": "off",
    "API_RELAY_CONTROL_PLANE_RATE_LIMIT": "off",
    "API_RELAY_CONTROL_PLANE_IP_RATE_LIMIT": "off",
    "TOKENPLACE_LOG_LEVEL": "INFO",
}
BARE = "tokenplace_harness.bench.bare"
PER_NODE = 50
CONNECTS_PER_SECOND = 1000
"""On a slow machine."""
SOAK_SECONDS = 20.0
"""Seconds of load between two readings of the memory."""


def main(arguments: list[str]) -> None:
    """Measure, print a table, and the same as JSON."""
    asked = _parser().parse_args(arguments)
    result: Result = {"throughput": [], "held": []}
    program = asked.program
    result["start"] = starts(program, asked.starts)
    with bare_server(program) as bare, relay_process(program=program, **UNLIMITED) as relay:
        contenders = [
            Contender("bare aiohttp", bare.url, "echoes", bare.cpu),
            Contender("this relay", relay.url, "trips", relay.cpu),
            *(Contender(url, url, "trips") for url in asked.url),
        ]
        for nodes, clients in product(asked.nodes, asked.clients):
            size: Result = {"clients": clients, "nodes": nodes, "seconds": asked.seconds}
            result["throughput"] += side_by_side(contenders, size, asked.rounds)
    for count in asked.polls:
        # The first one must not end before the last has come.
        hold = asked.hold + count / CONNECTS_PER_SECOND
        size = {"polls": count, "per_node": PER_NODE, "seconds": hold}
        result["held"] += [held_by_bare(program, size), held_by_relay(program, size)]
    result["soak"] = soaked(program, asked.soak)
    Console(width=140).print(*tables(result), sep="\n")
    text = json.dumps(result, indent=2)
    sys.stdout.write(f"{text}\n")
    if asked.output is not None:
        asked.output.write_text(f"{text}\n")


@dataclass(frozen=True)
class Contender:
    """A server that is measured; `cpu` returns its CPU seconds, if known."""

    name: str
    url: str
    kind: str
    cpu: Callable[[], float] = field(default=lambda: 0.0)

    def measure(self, size: Result) -> Result:
        """One run of the load, and the CPU that it took here, in microseconds per exchange."""
        before = self.cpu()
        figures = load(self.url, self.kind, size)
        exchanges = figures["exchanges_per_second"] * figures["seconds"]
        each = (self.cpu() - before) / exchanges * 1e6 if exchanges else 0.0
        show(f"{self.name}: {size['clients']} clients, {size['nodes']} nodes", figures)
        return {"server": self.name, **size, **figures, "cpu_us": round(each, 1)}


def side_by_side(contenders: list[Contender], size: Result, rounds: int) -> Iterator[Result]:
    """The median run of each; they take turns, as what else the machine does changes."""
    runs = [[one.measure(size) for one in contenders] for _ in range(rounds)]
    for mine in zip(*runs, strict=True):
        by_rate = sorted(mine, key=lambda run: run["exchanges_per_second"])
        cpu = median(run["cpu_us"] for run in mine)
        yield {**by_rate[len(by_rate) // 2], "cpu_us": cpu}


def _parser() -> ArgumentParser:
    parser = ArgumentParser("bench-relay", description=__doc__)
    add = parser.add_argument
    add("--url", action="append", default=[], help="another relay; may be repeated")
    add("--program", default=PROGRAM, help="our relay's program")
    add("--seconds", type=float, default=5.0, help="seconds per figure")
    add("--rounds", type=int, default=3, help="runs per figure, of which the median counts")
    add("--clients", type=int, nargs="+", default=[1, 8, 32], help="clients at a time")
    add("--nodes", type=int, nargs="+", default=[2, 8], help="compute nodes")
    add("--polls", type=int, nargs="*", default=[1000, 5000, 10_000], help="held polls")
    add("--hold", type=float, default=20.0, help="seconds that a poll is held; more with many")
    add("--starts", type=int, default=5, help="starts, of which the median counts")
    add("--soak", type=int, default=100_000, help="exchanges that memory is watched over")
    add("--output", type=Path, help="also write the JSON to a file")
    return parser


def starts(program: str, times: int) -> Result:
    """Seconds from the start of the process until it listens, and its memory when idle."""
    ready, idle = [], []
    for _ in range(times):
        with relay_process(program=program, **UNLIMITED) as relay:
            ready.append(relay.ready_seconds)
            time.sleep(2)
            idle.append(relay.memory())
    return {"ready_seconds": round(median(ready), 3), "idle_mb": round(median(idle) / 1e6, 1)}


def held_by_relay(program: str, size: Result) -> Result:
    """Memory and answers of our relay while it holds polls."""
    hold = {"TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": str(size["seconds"])}
    with relay_process(program=program, **UNLIMITED, **hold) as relay:
        time.sleep(2)
        return _held("this relay", relay.url, relay.memory, size, bare=False)


def held_by_bare(program: str, size: Result) -> Result:
    """The same of a server that does nothing else."""
    with bare_server(program) as bare:
        return _held("bare aiohttp", bare.url, bare.memory, size, bare=True)


def _held(name: str, url: str, memory: Callable[[], int], size: Result, *, bare: bool) -> Result:
    before, during = memory(), 0

    def look(word: str) -> None:
        nonlocal during
        if word == "held":
            during = memory()

    count = size["polls"]
    figures = load(url, "held", {**size, "bare": bare}, look)
    each = round((during - before) / count / 1000, 2)
    show(f"{name}: {count} held polls", {"kb_per_poll": each, **figures})
    return {"server": name, "kb_per_poll": each, "rss_mb": round(during / 1e6, 1), **figures}


def soaked(program: str, exchanges: int) -> Result:
    """Memory over many exchanges; what is kept for a time is kept shortly, to see what stays."""
    shortly = {"RELAY_ANSWER_TTL_SECONDS": "2", "TOKENPLACE_TERMINAL_REQUEST_TTL_SECONDS": "2"}
    done, samples = 0, []
    with relay_process(program=program, **UNLIMITED, **shortly) as relay:
        while done < exchanges:
            figures = load(
                relay.url,
                "trips",
                {"clients": 8, "nodes": 2, "seconds": min(SOAK_SECONDS, 5 + exchanges / 10_000)},
            )
            done += round(figures["exchanges_per_second"] * figures["seconds"])
            time.sleep(4)
            samples.append({"exchanges": done, "rss_mb": round(relay.memory() / 1e6, 1)})
            show("soak", samples[-1])
    return {"samples": samples}


@dataclass
class Bare:
    """The bare server."""

    url: str
    pid: int

    def memory(self) -> int:
        """Resident bytes."""
        return memory_of(self.pid)

    def cpu(self) -> float:
        """Seconds of CPU."""
        return cpu_of(self.pid)


@contextmanager
def bare_server(program: str) -> Iterator[Bare]:
    """Bare aiohttp in a process of its own, with the Python and the libraries of the relay."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "port")
        command = [str(Path(program).with_name("python")), "-m", BARE, str(place)]
        harness = {"PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(command, env=os.environ | harness) as process:
            try:
                while not place.exists():
                    time.sleep(0.02)
                yield Bare(f"http://127.0.0.1:{place.read_text()}", process.pid)
            finally:
                process.kill()


def load(url: str, kind: str, asked: Result, look: Callable[[str], None] | None = None) -> Result:
    """Run the load in a process of its own; its last line is the result."""
    what = json.dumps({"url": url, "kind": kind, **asked})
    command = [sys.executable, "-m", "tokenplace_harness.bench.load", what]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = line.strip()
            if look is not None:
                look(last)
    if process.returncode:
        raise SystemExit(f"the load ended with {process.returncode}: {what}")
    found: Result = json.loads(last)
    return found


def show(what: str, figures: Result) -> None:
    """Progress, on stderr."""
    sys.stderr.write(f"{what}: {json.dumps(figures)}\n")


def tables(result: Result) -> Iterator[Table]:
    """The texts for a person."""
    names = ["server", "clients", "nodes", "trips/s", "exchanges/s", "of bare"]
    names += ["CPU us", "of bare", "load busy"]
    times = ["trip p50", "p99", "dispatch p50", "p99"]
    yield _table("round trips (times in ms)", [*names, *times], _trips(result))
    names = ["server", "polls", "KB per poll", "RSS MB", "livez p99", "dispatch p50", "p99"]
    ending = ["livez p99 while all end", "most"]
    yield _table("held polls (times in ms)", [*names, *ending], _holds(result))
    yield _table("start", ["ready after s", "idle MB"], [list(result["start"].values())])
    samples = [list(sample.values()) for sample in result["soak"]["samples"]]
    yield _table("memory over many exchanges", ["exchanges", "RSS MB"], samples)


def _table(title: str, names: list[str], rows: Iterable[list[object]]) -> Table:
    table = Table(*names, title=title)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _trips(result: Result) -> Iterator[list[object]]:
    bare: Result = {}
    for row in result["throughput"]:
        if row["server"] == "bare aiohttp":
            bare = row
        rate = row["exchanges_per_second"] / (bare["exchanges_per_second"] or 1.0)
        cost = bare["cpu_us"] / (row["cpu_us"] or 1.0)
        figures = [round(row["trips_per_second"]), round(row["exchanges_per_second"])]
        shares = [f"{rate:.2f}", row["cpu_us"], f"{cost:.2f}", row["load_busy"]]
        trip, dispatch = row["trip_ms"], row["dispatch_ms"]
        times = [trip["p50"], trip["p99"], dispatch["p50"], dispatch["p99"]]
        yield [row["server"], row["clients"], row["nodes"], *figures, *shares, *times]


def _holds(result: Result) -> Iterator[list[object]]:
    for row in result["held"]:
        dispatch, ending = row.get("dispatch_ms", {}), row["livez_ms_while_ending"]
        times = [row["livez_ms"]["p99"], dispatch.get("p50", ""), dispatch.get("p99", "")]
        size = [row["polls"], row["kb_per_poll"], row["rss_mb"]]
        yield [row["server"], *size, *times, ending["p99"], ending["max"]]


if __name__ == "__main__":
    main(sys.argv[1:])
