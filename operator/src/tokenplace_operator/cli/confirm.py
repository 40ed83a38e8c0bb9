"""Confirmation before a change."""

import signal
import sys

import typer

from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.output import printable


def confirm(question: str) -> None:
    """Ask on the terminal; CliError when there is no terminal, or the answer is no."""
    # A script would wait indefinitely for an answer; a flag makes its intention visible.
    if not sys.stdin.isatty():
        raise CliError(Exit.USAGE, "standard input is not a terminal; add --yes or --dry-run")
    # asyncio's handler only records the first Ctrl-C, so the question would stay open.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # On standard error, so that standard output holds only the answer of the command.
        confirmed = typer.confirm(printable(question), err=True)
    except typer.Abort:
        confirmed = False
        typer.echo(err=True)
    finally:
        signal.signal(signal.SIGINT, previous)
    if not confirmed:
        raise CliError(Exit.NO, "nothing was changed")
