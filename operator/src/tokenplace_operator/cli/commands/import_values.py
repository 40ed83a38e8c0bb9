"""`kubectl tokenplace import`: a TokenplaceRelay from Helm values of upstream's charts."""

import re
from dataclasses import asdict
from typing import Annotated, Any

import typer

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.cli.exit_codes import CliError, Exit, run_and_exit
from tokenplace_operator.cli.import_chart.charts import Chart, Source, detect_chart
from tokenplace_operator.cli.import_chart.convert import Conversion, convert
from tokenplace_operator.cli.import_chart.pods import DIGEST
from tokenplace_operator.cli.import_chart.value_mapping import Outcome, ValuesError, overlaid
from tokenplace_operator.cli.options import Output, namespace_name
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
from tokenplace_operator.cli.relay_files import read_text
from tokenplace_operator.cli.yaml_io import load_documents, to_yaml

_STYLES = {Outcome.CARRIED: GOOD, Outcome.CHANGED: "yellow", Outcome.NOT_CARRIED: BAD}
_HEADER = re.compile(r"\A(USER-SUPPLIED|COMPUTED) VALUES:\n")
"""The heading that `helm get values` prints without --output."""


def import_values(
    *,
    filename: Annotated[
        list[str] | None,
        typer.Option(
            "--filename",
            "-f",
            help="A file of Helm values; - is standard input; repeatable.",
            show_default=False,
        ),
    ] = None,
    chart: Annotated[
        Chart | None,
        typer.Option(help="The chart of the values.", show_default="detected"),
    ] = None,
    release: Annotated[
        str,
        typer.Option(help="Name of the Helm release.", show_default="the name of the chart"),
    ] = "",
    name: Annotated[
        str,
        typer.Option(help="Name of the relay.", show_default="the name of the release's Service"),
    ] = "",
    digest: Annotated[
        str, typer.Option(help="Digest of the image to run, sha256:...", show_default=False)
    ] = "",
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace of the relay.",
            show_default=False,
            callback=namespace_name,
        ),
    ] = "",
    output: Output = Format.TEXT,
) -> None:
    """Convert Helm values of upstream's charts to a TokenplaceRelay, without a cluster.

    Prints the relay as YAML, and the outcome of each value on standard error.
    Exit code 1: a value was not carried over, or the relay is not valid yet.
    """
    if digest and not DIGEST.fullmatch(digest):
        raise typer.BadParameter("--digest must be sha256: and 64 lower-case hex digits")
    options = {"release": release, "name": name, "namespace": namespace, "digest": digest}
    run_and_exit(_import(filename or ["-"], chart, output, options))


async def _import(
    files: list[str], chart: Chart | None, output: Format, options: dict[str, str]
) -> Exit:
    given: Object = {}
    for file in files:
        given = overlaid(given, read_values(file))
    try:
        source = Source(detect_chart(given, chart), given)
        conversion = convert(source, **options)
    except ValuesError as error:
        raise CliError(Exit.USAGE, str(error)) from None
    if output is Format.JSON:
        show_json(_as_data(source, conversion))
    else:
        # The YAML alone on standard output, so that it can be piped into kubectl apply.
        write(to_yaml(conversion.relay))
        show(text(source, conversion), stderr=True)
    return Exit.OK if conversion.is_complete else Exit.NO


def read_values(path: str) -> Object:
    """The values in a file or in the output of `helm get values`; CliError when it has none."""
    name = "standard input" if path == "-" else path
    try:
        parsed = load_documents(_HEADER.sub("", read_text(path)))
    except ValueError as error:
        raise CliError(Exit.USAGE, f"{name} is not valid YAML: {error}") from None
    # helm get values prints null for a release without values of its own.
    if parsed in ([], [None]):
        return {}
    if len(parsed) > 1 or not isinstance(parsed[0], dict):
        raise CliError(Exit.USAGE, f"{name} contains no values: it must be a map")
    return parsed[0]


def text(source: Source, conversion: Conversion) -> list[Line]:
    """One line for each value, those to handle last, then the problems of the relay."""
    order = list(Outcome)
    entries = sorted(conversion.entries, key=lambda entry: order.index(entry.outcome))
    rows: list[list[Cell]] = [
        [plain(entry.outcome, _STYLES[entry.outcome]), entry.value, entry.field or "-", entry.note]
        for entry in entries
    ]
    lines = [plain(f"values of chart {source.chart}")]
    if rows:
        lines += aligned([["", "VALUE", "FIELD", "NOTE"], *rows])
    lines += [plain(f"to fix: {problem}", BAD) for problem in conversion.problems]
    return lines


def _as_data(source: Source, conversion: Conversion) -> dict[str, Any]:
    return {
        "chart": source.chart,
        "complete": conversion.is_complete,
        "relay": conversion.relay,
        "entries": [asdict(entry) for entry in conversion.entries],
        "problems": list(conversion.problems),
    }
