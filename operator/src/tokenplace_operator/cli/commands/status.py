"""`kubectl tokenplace status`: what runs, where, since when, and what is wrong."""

from datetime import datetime
from typing import Annotated

import typer

from tokenplace_operator.api.conditions import counted
from tokenplace_operator.api.kinds import RELAY, Object
from tokenplace_operator.cli.connection import (
    Context,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    connected,
)
from tokenplace_operator.cli.details import details, summary
from tokenplace_operator.cli.exit_codes import Exit, finish
from tokenplace_operator.cli.names import optional_relay_name
from tokenplace_operator.cli.observe import observe
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
    utc_now,
)


def status(
    *,
    name: Annotated[
        str,
        typer.Argument(
            help="A TokenplaceRelay; without it a table of all.",
            show_default=False,
            callback=optional_relay_name,
        ),
    ] = "",
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="A table of all namespaces.")
    ] = False,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Show what runs, where, since when, and what is wrong. Exit code 1: not Ready."""
    if name and everywhere:
        raise typer.BadParameter("-A shows all relays; leave the name out")
    where = Where(context, namespace, kubeconfig)
    finish(_one(where, name, output) if name else _table(where, output, everywhere=everywhere))


async def _one(where: Where, name: str, output: Format) -> Exit:
    async with connected(where) as cluster:
        snapshot = await observe(cluster.kube, cluster.namespace, name)
    found = details(snapshot)
    if output is Format.JSON:
        show_json(found)
    else:
        show(screen(found, utc_now()))
    return Exit.YES if found["ready"] else Exit.NO


async def _table(where: Where, output: Format, *, everywhere: bool) -> Exit:
    async with connected(where) as cluster:
        relays, _ = await cluster.kube.list(RELAY, None if everywhere else cluster.namespace)
    found = [summary(one) for one in relays]
    if output is Format.JSON:
        show_json({"relays": found})
    elif found:
        show(table(found, utc_now(), everywhere=everywhere))
    else:
        place = "in any namespace" if everywhere else f"in namespace {cluster.namespace}"
        show([plain(f"No TokenplaceRelay {place}.")])
    return Exit.YES if all(one["ready"] for one in found) else Exit.NO


def table(relays: list[Object], now: datetime, *, everywhere: bool) -> list[Line]:
    """One line a relay."""
    titles = ("NAME", "READY", "REASON", "SINCE", "URL", "IMAGE", "AGE")
    rows: list[list[Cell]] = [list(titles), *(_row(one, now) for one in relays)]
    if everywhere:
        names = ["NAMESPACE", *(one["namespace"] for one in relays)]
        rows = [[name, *row] for name, row in zip(names, rows, strict=True)]
    return aligned(rows, indent=0)


def _row(one: Object, now: datetime) -> list[Cell]:
    return [
        one["name"],
        plain("yes", GOOD) if one["ready"] else plain("no", BAD),
        one["reason"],
        age(one["since"], now),
        one["url"],
        pick(one, "image", "short"),
        age(one["created"], now),
    ]


def screen(found: Object, now: datetime) -> list[Line]:
    """One relay on one screen."""
    lines = [_title(found, now), *aligned(_facts(found, now))]
    lines += _section("Conditions", _condition_rows(found["conditions"], now))
    lines += _section("Children", [[one["kind"], one["name"]] for one in found["children"]])
    lines += _section("Pods", _pod_rows(found["pods"], now))
    lines += _section("Last events", _event_rows(found["events"], now))
    lines += _section("Not read", [[one] for one in found["notRead"]])
    return lines


def _title(found: Object, now: datetime) -> Line:
    line = plain(f"{found['name']} in namespace {found['namespace']}: ", BOLD)
    verdict = "Ready" if found["ready"] else "not Ready"
    line.append_text(plain(verdict, GOOD if found["ready"] else BAD))
    if found["since"]:
        line.append_text(plain(f" for {age(found['since'], now)}"))
    return line


def _facts(found: Object, now: datetime) -> list[list[Cell]]:
    image, gpu, replicas = found["image"], found["gpu"], found["replicas"]
    rows: list[list[Cell]] = []
    if not found["ready"]:
        rows.append([plain("wrong"), plain(f"{found['reason']}: {found['message']}", BAD)])
    rows += [["url", found["url"]], ["image", image.get("desired", "")]]
    if image.get("running"):
        rows.append(["runs", image["running"]])
    rows.append(["gpu", _gpu_text(gpu, now)])
    rows.append(["replicas", f"{replicas['ready']} of {replicas['wanted']} ready"])
    rows.append(["age", age(found["created"], now)])
    return rows


def _section(title: str, rows: list[list[Cell]]) -> list[Line]:
    return [*heading(title), *aligned(rows)] if rows else []


def _condition_rows(conditions: list[Object], now: datetime) -> list[list[Cell]]:
    rows = []
    for one in conditions:
        style = GOOD if one["good"] else BAD
        mark = " " if one["good"] else "!"
        since = age(one.get("lastTransitionTime", ""), now)
        rows.append(
            [
                plain(f"{mark} {one['type']}", "" if one["good"] else BOLD),
                plain(one["status"], style),
                since,
                one.get("reason", ""),
                one.get("message", ""),
            ]
        )
    return rows


def _pod_rows(pods: list[Object], now: datetime) -> list[list[Cell]]:
    return [
        [
            one["name"],
            plain(one["state"], GOOD if one["ready"] else BAD),
            counted(one["restarts"], "restart"),
            one["node"] or "no node",
            age(one["created"], now),
        ]
        for one in pods
    ]


def _event_rows(events: list[Object], now: datetime) -> list[list[Cell]]:
    return [
        [
            age(one["last"], now),
            plain(one["type"], BAD if one["type"] == "Warning" else DIM),
            one["reason"],
            one["about"],
            one["message"] + (f" (x{one['count']})" if one["count"] > 1 else ""),
        ]
        for one in events
    ]


def _gpu_text(gpu: Object, now: datetime) -> str:
    mode = gpu.get("mode", "")
    if mode == "None":
        return "none: compute nodes poll from outside"
    parts = [mode, gpu.get("host", ""), f"port {gpu.get('port', '')}"]
    parts.append(f"Service {gpu['service']}" if gpu.get("service") else "")
    addresses = gpu.get("addresses", [])
    if addresses:
        more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
        parts.append(", ".join(addresses[:3]) + more)
    if gpu.get("lastResolved"):
        parts.append(f"unchanged for {age(gpu['lastResolved'], now)}")
    return "; ".join(part for part in parts if part)
