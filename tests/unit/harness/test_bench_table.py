"""What the benchmark of the operator makes of its measurements."""

import io
from typing import Any

import pytest
from rich.console import Console

from tokenplace_bench.main import add_turn
from tokenplace_bench.table import ratio, table, verdicts

Object = dict[str, Any]


def measured(relays: int, **other: object) -> Object:
    found = {
        "seconds": relays / 100,
        "all_seconds": [relays / 100],
        "relays": relays,
        "creation_cpu_seconds": relays / 200,
        "restart_seconds": relays / 500,
        "restart_writes": {},
        "idle_writes": {},
        "repair_p50_seconds": 0.01,
        "repair_p99_seconds": 0.1,
        "rss_mib": 80 + relays / 100,
        "peak_mib": 90 + relays / 100,
    }
    return {**found, **other}


def results(**other: object) -> Object:
    bare = {
        "100": {"seconds": 0.8, "all_seconds": [0.8]},
        "1000": {"seconds": 8.0, "all_seconds": [8.0]},
    }
    ours = {"100": measured(100), "1000": measured(1000, **other)}
    least = {"100": {"seconds": 1.0}, "1000": {"seconds": 10.0}}
    return {"machine": {}, "bare": bare, "least": least, "ours": ours}


def test_everything_in_its_bounds_is_met() -> None:
    found = verdicts(results())
    assert len(found) == 10
    assert [one.text for one in found if not one.met] == []
    assert ratio(results(), "bare", "1000") == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("seconds", 12.1, "1.51 times the bare applies"),
        ("restart_writes", {"patch services": 2, "create events": 1}, "3 writes on restart"),
        ("idle_writes", {"patch services": 1}, "1 writes on idle"),
        ("repair_p99_seconds", 1.01, "repair p99 1.010 s"),
        ("peak_mib", 144.0, "peak memory 144 MiB"),
        ("restart_seconds", 2.1, "restart grows 10.5 times"),
    ],
)
def test_what_is_out_of_bounds_is_missed(field: str, value: object, text: str) -> None:
    missed = [one.text for one in verdicts(results(**{field: value})) if not one.met]
    assert any(text in one for one in missed), missed


def test_the_median_of_the_turns_counts_and_their_spread_is_shown() -> None:
    found = results()
    for name, more in {"bare": [8.2, 7.0], "ours": [9.0, 14.0]}.items():
        for seconds in more:
            add_turn(found[name]["1000"], {"all_seconds": [seconds]})
    assert (found["bare"]["1000"]["seconds"], found["ours"]["1000"]["seconds"]) == (8.0, 10.0)
    first = verdicts(found)[0]
    assert first.met
    assert first.text.endswith("1.25 times the bare applies (at most 1.5; its turns 1.10 to 2.00)")


def test_the_table_has_a_column_for_each_number_of_relays() -> None:
    file = io.StringIO()
    console = Console(file=file, width=120)
    console.print(table(results(restart_writes={"create events": 3})))
    lines = file.getvalue().splitlines()
    assert any("bare applies" in one and "0.80 s" in one and "8.00 s" in one for one in lines)
    assert any("ratio to bare applies" in one and "1.25" in one for one in lines)
    assert any("ratio to the least operator" in one and "1.00" in one for one in lines)
    assert any("writes on restart" in one and " 0 " in one and " 3 " in one for one in lines)
