"""The question that comes before a change."""

import signal
import sys

import typer

from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.output import clean


def confirm(question: str) -> None:
    """Ask on the terminal; CliError when there is none, or the answer is no."""
    if not sys.stdin.isatty():
        raise CliError(Exit.USAGE, "this is no terminal to ask on; add --yes or --dry-run")
    # asyncio's handler would only note the first Ctrl-C, and leave the question open.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        agreed = typer.confirm(clean(question), err=True)
    except typer.Abort:
        agreed = False
        typer.echo(err=True)
    finally:
        signal.signal(signal.SIGINT, before)
    if not agreed:
        raise CliError(Exit.NO, "nothing was changed")
