"""The results as a table with ratios, and against what is to be reached."""

from dataclasses import dataclass

from rich.table import Table

from tokenplace_operator.api.kinds import Object

MAX_CREATION_RATIO = 1.5
MAX_REPAIR_SECONDS = 1.0
MAX_MIB = 150.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target and whether it was met."""

    text: str
    met: bool


def table(results: Object) -> Table:
    """Creation next to the baselines, and the rest of the operator by the number of relays."""
    ours = results.get("ours", {})
    counts = list(ours or next(iter(_contenders(results).values())))
    found = Table(title="TokenplaceRelays", title_justify="left")
    found.add_column("")
    for count in counts:
        found.add_column(count, justify="right")
    for name, title in (
        ("bare", "bare applies"),
        ("least", "the least operator"),
        ("plain", "plain kopf operator"),
        ("ours", "this operator"),
    ):
        if name in results:
            cells = [f"{results[name][count]['seconds']:.2f} s" for count in counts]
            found.add_row(f"until all children exist: {title}", *cells)
    for name, title in (
        ("bare", "bare applies"),
        ("least", "the least operator"),
        ("plain", "plain kopf"),
    ):
        if ours and name in results:
            found.add_row(f"ratio to {title}", *(f"{ratio(results, name, c):.2f}" for c in counts))
    for title, row in _ROWS.items():
        if ours:
            found.add_row(title, *(_cell(ours[count], *row) for count in counts))
    return found


def ratio(results: Object, rival: str, count: str) -> float:
    """How much longer the operator takes than a rival."""
    return float(results["ours"][count]["seconds"] / results[rival][count]["seconds"])


def verdicts(results: Object) -> list[Verdict]:
    """What was to be reached at the largest number of relays."""
    ours = results.get("ours", {})
    if not ours:
        return []
    most = max(ours, key=int)
    at = ours[most]
    found = []
    if "bare" in results:
        times = ratio(results, "bare", most)
        spread = _spread(results["bare"][most], at)
        text = f"creation of {most} takes {times:.2f} times the bare applies (at most 1.5{spread})"
        found.append(Verdict(text, times <= MAX_CREATION_RATIO))
    for name in ("restart", "idle"):
        count = sum(at[f"{name}_writes"].values())
        found.append(Verdict(f"{count} writes on {name} (0)", count == 0))
    slow = at["repair_p99_seconds"]
    found.append(Verdict(f"repair p99 {slow:.3f} s (at most 1)", slow <= MAX_REPAIR_SECONDS))
    memory = at["peak_mib"]
    found.append(
        Verdict(f"peak memory {memory:.0f} MiB (at most 150 MB)", memory * 1.048576 <= MAX_MIB)
    )
    return found + _growth(ours, most)


def _spread(bare: Object, ours: Object) -> str:
    """The lowest and highest ratio of one turn, where there were several."""
    turns = zip(bare["all_seconds"], ours["all_seconds"], strict=True)
    found = sorted(mine / limit for limit, mine in turns)
    return f"; its turns {found[0]:.2f} to {found[-1]:.2f}" if len(found) > 1 else ""


def _growth(ours: Object, most: str) -> list[Verdict]:
    smaller = [count for count in ours if 10 < int(count) < int(most)]
    if not smaller:
        return []
    least = smaller[0]
    times = ours[most]["relays"] / ours[least]["relays"]
    return [
        Verdict(
            f"{title} grows {grown:.1f} times from {least} to {most} (at most {times:.1f})",
            grown <= times,
        )
        for title, field in _GROWS.items()
        for grown in [ours[most][field] / ours[least][field]]
    ]


def _contenders(results: Object) -> Object:
    return {name: value for name, value in results.items() if name != "machine"}


def _cell(result: Object, field: str, unit: str) -> str:
    value = result.get(field, "")
    if isinstance(value, dict):
        return str(sum(value.values()))
    return f"{value:g}{unit}" if value != "" else ""


_GROWS = {
    "creation": "seconds",
    "CPU of creation": "creation_cpu_seconds",
    "restart": "restart_seconds",
    "repair p50": "repair_p50_seconds",
    "memory": "rss_mib",
}
_ROWS = {
    "relays that exist then": ("relays", ""),
    "until all are Ready": ("settled_seconds", " s"),
    "CPU until then": ("creation_cpu_seconds", " s"),
    "writes until then": ("creation_writes", ""),
    "restart until quiet": ("restart_seconds", " s"),
    "CPU of restart": ("restart_cpu_seconds", " s"),
    "writes on restart": ("restart_writes", ""),
    "writes while idle": ("idle_writes", ""),
    "CPU while idle": ("idle_cpu_percent", " %"),
    "repair p50": ("repair_p50_seconds", " s"),
    "repair p99": ("repair_p99_seconds", " s"),
    "repair max": ("repair_max_seconds", " s"),
    "memory at the end": ("rss_mib", " MiB"),
    "memory peak": ("peak_mib", " MiB"),
}
