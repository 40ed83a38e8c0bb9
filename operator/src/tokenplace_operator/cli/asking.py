"""The question that comes before a change."""

import sys

import typer

from tokenplace_operator.cli.exits import CliError, Exit


def confirm(question: str) -> None:
    """Ask on the terminal; CliError when there is none, or the answer is no."""
    if not sys.stdin.isatty():
        raise CliError(Exit.USAGE, "this is no terminal to ask on; add --yes or --dry-run")
    if not typer.confirm(question, err=True):
        raise CliError(Exit.NO, "nothing was changed")
