"""The program `kubectl-tokenplace`, which kubectl runs as `kubectl tokenplace`."""

import re
import sys

import typer

from tokenplace_operator import __version__
from tokenplace_operator.cli.adopt import adopt
from tokenplace_operator.cli.diff import diff
from tokenplace_operator.cli.explain import explain
from tokenplace_operator.cli.import_values import import_values
from tokenplace_operator.cli.pin import pin
from tokenplace_operator.cli.probe import probe
from tokenplace_operator.cli.render import render
from tokenplace_operator.cli.report import report
from tokenplace_operator.cli.status import status

cli = typer.Typer(
    help="Look after TokenplaceRelays.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help and errors: kubectl's neighbours have no boxes.
    rich_markup_mode=None,
)
for verb in (status, explain, diff, render, pin, report, probe, adopt):
    cli.command()(verb)
cli.command("import")(import_values)


@cli.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def run() -> None:
    """Run as the plugin."""
    cli([as_click(one) for one in sys.argv[1:]], prog_name="kubectl tokenplace")


def as_click(argument: str) -> str:
    """`-n=shop`, which kubectl takes, as `-nshop`."""
    return re.sub(r"^(-[a-z])=", r"\1", argument)
