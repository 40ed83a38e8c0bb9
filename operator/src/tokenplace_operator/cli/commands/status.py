"""`kubectl tokenplace status`: state of one relay, or a table of relays."""

from datetime import datetime
from typing import Annotated

import typer

from tokenplace_operator.api.conditions import counted
from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.cli.connection import connected
from tokenplace_operator.cli.details import details, summary
from tokenplace_operator.cli.exit_codes import Exit
from tokenplace_operator.cli.options import Target, cluster_command, optional_relay_name
from tokenplace_operator.cli.output import (
    BAD,
    BOLD,
    DIM,
    GOOD,
    Cell,
    Format,
    Line,
    age,
    aligned,
    heading,
    pick,
    plain,
    show,
    show_json,
)
from tokenplace_operator.cli.snapshot import read_snapshot
from tokenplace_operator.clock import utc_now


@cluster_command
async def status(
    target: Target,
    output: Format,
    *,
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a TokenplaceRelay; without it, a table of all relays.",
            show_default=False,
            callback=optional_relay_name,
        ),
    ] = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="A table of all namespaces.")
    ] = False,
) -> Exit:
    """Show the state of a relay, or of all relays. Exit code 1: not Ready."""
    if name and all_namespaces:
        raise typer.BadParameter("-A shows all relays; leave out the name")
    if name:
        return await _show_relay(target, name, output)
    return await _show_table(target, output, all_namespaces=all_namespaces)


async def _show_relay(target: Target, name: str, output: Format) -> Exit:
    async with connected(target) as cluster:
        snapshot = await read_snapshot(cluster.kube, cluster.namespace, name)
    data = details(snapshot)
    if output is Format.JSON:
        show_json(data)
    else:
        show(page(data, utc_now()))
    return Exit.OK if data["ready"] else Exit.NO


async def _show_table(target: Target, output: Format, *, all_namespaces: bool) -> Exit:
    async with connected(target) as cluster:
        namespace = None if all_namespaces else cluster.namespace
        relays, _ = await cluster.kube.list(RELAY, namespace)
    summaries = [summary(relay) for relay in relays]
    if output is Format.JSON:
        show_json({"relays": summaries})
    elif summaries:
        show(table(summaries, utc_now(), all_namespaces=all_namespaces))
    else:
        place = "in any namespace" if all_namespaces else f"in namespace {cluster.namespace}"
        show([plain(f"No TokenplaceRelay {place}.")])
    return Exit.OK if all(relay["ready"] for relay in summaries) else Exit.NO


def table(relays: list[Object], now: datetime, *, all_namespaces: bool) -> list[Line]:
    """One line for each relay."""
    titles = ("NAME", "READY", "REASON", "SINCE", "URL", "IMAGE", "AGE")
    rows: list[list[Cell]] = [list(titles), *(_row(relay, now) for relay in relays)]
    if all_namespaces:
        names = ["NAMESPACE", *(relay["namespace"] for relay in relays)]
        rows = [[name, *row] for name, row in zip(names, rows, strict=True)]
    return aligned(rows, indent=0)


def _row(relay: Object, now: datetime) -> list[Cell]:
    return [
        relay["name"],
        plain("yes", GOOD) if relay["ready"] else plain("no", BAD),
        relay["reason"],
        age(relay["since"], now),
        relay["url"],
        pick(relay, "image", "short"),
        age(relay["created"], now),
    ]


def page(relay: Object, now: datetime) -> list[Line]:
    """All that is known about one relay."""
    lines = [_title(relay, now), *aligned(_facts(relay, now))]
    lines += _section("Conditions", _condition_rows(relay["conditions"], now))
    lines += _section("Children", [[child["kind"], child["name"]] for child in relay["children"]])
    lines += _section("Pods", _pod_rows(relay["pods"], now))
    lines += _section("Last events", _event_rows(relay["events"], now))
    lines += _section("Not readable", [[message] for message in relay["unreadable"]])
    return lines


def _title(relay: Object, now: datetime) -> Line:
    line = plain(f"{relay['name']} in namespace {relay['namespace']}: ", BOLD)
    ready = relay["ready"]
    line.append_text(plain("Ready" if ready else "not Ready", GOOD if ready else BAD))
    if relay["since"]:
        line.append_text(plain(f" for {age(relay['since'], now)}"))
    return line


def _facts(relay: Object, now: datetime) -> list[list[Cell]]:
    image, gpu, replicas = relay["image"], relay["gpu"], relay["replicas"]
    rows: list[list[Cell]] = []
    if not relay["ready"]:
        rows.append([plain("problem"), plain(f"{relay['reason']}: {relay['message']}", BAD)])
    rows += [["url", relay["url"]], ["image", image.get("desired", "")]]
    if image.get("running"):
        rows.append(["running", image["running"]])
    rows.append(["gpu", _gpu_text(gpu, now)])
    rows.append(["replicas", f"{replicas['ready']} of {replicas['desired']} ready"])
    rows.append(["age", age(relay["created"], now)])
    return rows


def _section(title: str, rows: list[list[Cell]]) -> list[Line]:
    return [*heading(title), *aligned(rows)] if rows else []


def _condition_rows(conditions: list[Object], now: datetime) -> list[list[Cell]]:
    rows = []
    for condition in conditions:
        style = GOOD if condition["good"] else BAD
        mark = " " if condition["good"] else "!"
        since = age(condition.get("lastTransitionTime", ""), now)
        rows.append(
            [
                plain(f"{mark} {condition['type']}", "" if condition["good"] else BOLD),
                plain(condition["status"], style),
                since,
                condition.get("reason", ""),
                condition.get("message", ""),
            ]
        )
    return rows


def _pod_rows(pods: list[Object], now: datetime) -> list[list[Cell]]:
    return [
        [
            pod["name"],
            plain(pod["state"], GOOD if pod["ready"] else BAD),
            counted(pod["restarts"], "restart"),
            pod["node"] or "no node",
            age(pod["created"], now),
        ]
        for pod in pods
    ]


def _event_rows(events: list[Object], now: datetime) -> list[list[Cell]]:
    return [
        [
            age(event["last"], now),
            plain(event["type"], BAD if event["type"] == "Warning" else DIM),
            event["reason"],
            event["about"],
            event["message"] + (f" (x{event['count']})" if event["count"] > 1 else ""),
        ]
        for event in events
    ]


def _gpu_text(gpu: Object, now: datetime) -> str:
    mode = gpu.get("mode", "")
    if mode == "None":
        return "none; compute nodes poll the relay"
    parts = [mode, gpu.get("host", ""), f"port {gpu.get('port', '')}"]
    parts.append(f"Service {gpu['service']}" if gpu.get("service") else "")
    addresses = gpu.get("addresses", [])
    if addresses:
        more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
        parts.append(", ".join(addresses[:3]) + more)
    if gpu.get("lastResolved"):
        parts.append(f"unchanged for {age(gpu['lastResolved'], now)}")
    return "; ".join(part for part in parts if part)
