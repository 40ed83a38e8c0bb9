"""`kubectl tokenplace import`: a TokenplaceRelay from the values of upstream's charts."""

import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli import names
from tokenplace_operator.cli.connection import Output
from tokenplace_operator.cli.documents import read_text, to_yaml
from tokenplace_operator.cli.exit_codes import CliError, Exit, finish
from tokenplace_operator.cli.import_chart import (
    Chart,
    Import,
    Outcome,
    Source,
    ValuesError,
    convert,
    detected,
)
from tokenplace_operator.cli.import_chart.ledger import overlaid
from tokenplace_operator.cli.import_chart.pods import DIGEST
from tokenplace_operator.cli.output import (
    BAD,
    GOOD,
    Cell,
    Format,
    Line,
    aligned,
    plain,
    show,
    show_json,
    write,
)
from tokenplace_operator.cli.yaml_text import documents

_STYLES = {Outcome.CARRIED: GOOD, Outcome.CHANGED: "yellow", Outcome.LEFT: BAD}
_HEADER = re.compile(r"\A(USER-SUPPLIED|COMPUTED) VALUES:\n")
"""What `helm get values` writes above the values for people."""


def import_values(
    *,
    filename: Annotated[
        list[str] | None,
        typer.Option(
            "--filename",
            "-f",
            help="A file of values, as for helm; - is standard input; repeatable.",
            show_default=False,
        ),
    ] = None,
    chart: Annotated[
        Chart | None,
        typer.Option(help="The chart the values are for.", show_default="by the values"),
    ] = None,
    release: Annotated[
        str,
        typer.Option(help="Name of the Helm release.", show_default="the name of the chart"),
    ] = "",
    name: Annotated[
        str,
        typer.Option(help="Name of the relay.", show_default="that of the release's Service"),
    ] = "",
    digest: Annotated[
        str, typer.Option(help="Digest of the image to run.", show_default=False)
    ] = "",
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Written into the relay.",
            show_default=False,
            callback=names.namespace,
        ),
    ] = "",
    output: Output = Format.TEXT,
) -> None:
    """Print a TokenplaceRelay for Helm values of upstream's charts, as YAML. Asks no cluster.

    What became of each value goes to standard error. Exit code 1: something is left to you.
    """
    if digest and not DIGEST.fullmatch(digest):
        raise typer.BadParameter("--digest is sha256: and 64 lower-case hex digits")
    finish(
        _import(
            filename or ["-"], chart, output, {"release": release, "name": name,
            "namespace": namespace, "digest": digest},
        )
    )  # fmt: skip


async def _import(
    files: list[str], chart: Chart | None, output: Format, options: dict[str, str]
) -> Exit:
    given: Object = {}
    for one in files:
        given = overlaid(given, read_values(one))
    try:
        source = Source(detected(given, chart), given)
        done = convert(source, **options)
    except ValuesError as error:
        raise CliError(Exit.USAGE, str(error)) from None
    if output is Format.JSON:
        show_json(_for_programs(source, done))
    else:
        write(to_yaml(done.relay))
        show(text(source, done), aside=True)
    return Exit.YES if done.is_whole else Exit.NO


def read_values(path: str) -> Object:
    """The values in a file, or in what `helm get values` prints; CliError when it has none."""
    name = "standard input" if path == "-" else path
    try:
        found = documents(_HEADER.sub("", read_text(path)))
    except ValueError as error:
        raise CliError(Exit.USAGE, f"{name} is no YAML: {error}") from None
    if found in ([], [None]):
        return {}
    if len(found) > 1 or not isinstance(found[0], dict):
        raise CliError(Exit.USAGE, f"{name} holds no values: it must be a map")
    return found[0]


def text(source: Source, done: Import) -> list[Line]:
    """One line a value, what is left to do last; then what the relay still lacks."""
    order = list(Outcome)
    entries = sorted(done.entries, key=lambda one: order.index(one.outcome))
    rows: list[list[Cell]] = [
        [plain(one.outcome, _STYLES[one.outcome]), one.value, one.field or "-", one.note]
        for one in entries
    ]
    lines = [plain(f"values of chart {source.chart}")]
    if rows:
        lines += aligned([["", "VALUE", "FIELD", "NOTE"], *rows])
    lines += [plain(f"to put right: {problem}", BAD) for problem in done.problems]
    return lines


def _for_programs(source: Source, done: Import) -> dict[str, Any]:
    return {
        "chart": source.chart,
        "whole": done.is_whole,
        "relay": done.relay,
        "entries": [asdict(one) for one in done.entries],
        "problems": list(done.problems),
    }
