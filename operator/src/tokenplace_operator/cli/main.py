"""The program `kubectl-tokenplace`, which kubectl runs as `kubectl tokenplace`."""

import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import typer

from tokenplace_operator import __version__
from tokenplace_operator.cli.commands.adopt import adopt
from tokenplace_operator.cli.commands.diff import diff
from tokenplace_operator.cli.commands.explain import explain
from tokenplace_operator.cli.commands.import_values import import_values
from tokenplace_operator.cli.commands.pin import pin
from tokenplace_operator.cli.commands.probe import probe
from tokenplace_operator.cli.commands.render import render
from tokenplace_operator.cli.commands.report import report
from tokenplace_operator.cli.commands.status import status
from tokenplace_operator.cli.exit_codes import Exit, print_error
from tokenplace_operator.cli.options import Output
from tokenplace_operator.cli.output import Format, plain, show, show_json

PROGRAM = "kubectl tokenplace"

_UsageError: Any = typer.BadParameter.__base__
"""Typer bundles its own click and exports none of click's base errors."""

cli = typer.Typer(
    help="Inspect and manage TokenplaceRelays.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help and errors, as other kubectl commands print them.
    rich_markup_mode=None,
)
for verb in (status, explain, diff, render, pin, report, probe, adopt):
    cli.command()(verb)
# `import` is a keyword in Python, so the function needs another name.
cli.command("import")(import_values)


@cli.command()
def version(*, output: Output = Format.TEXT) -> None:
    """Print the version."""
    if output is Format.JSON:
        show_json({"version": __version__})
    else:
        show([plain(__version__)])


def run() -> None:
    """Run as the kubectl plugin and exit."""
    code = main([as_click(argument) for argument in sys.argv[1:]])
    code = flush_output(code)
    # Python flushes again at exit and would report the same error a second time.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def flush_output(code: int) -> int:
    """Flush standard output; returns the given exit code, or another one when that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return Exit.BROKEN_PIPE
    except OSError as error:
        print_error(_reason(error))
        return Exit.USAGE
    return code


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code; prints errors as one line on standard error."""
    try:
        # In standalone mode click prints errors itself and exits with codes of its own.
        code = cli(arguments, prog_name=PROGRAM, standalone_mode=False)
    except _UsageError as error:
        return _report_usage_error(error, arguments)
    except typer.Abort:
        return Exit.INTERRUPTED
    except SystemExit:
        return Exit.BROKEN_PIPE  # Typer exits this way when the pipe is closed.
    except OSError as error:
        print_error(_reason(error))
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 (a traceback would exit with code 1, which means no)
        print_error(f"internal error (bug), please report it: {_location(error)}")
        return Exit.INTERNAL_ERROR
    return int(code or 0)


def _report_usage_error(error: Any, arguments: list[str]) -> int:  # noqa: ANN401 (typer's click)
    if not arguments:
        error.show()  # Without arguments, the error holds the help page.
        return Exit.USAGE
    # An error that a command raises itself has no context.
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    text = error.format_message().replace("Value error, ", "").rstrip(".")
    print_error(f"{text}; see {path} --help")
    return Exit.USAGE


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _location(error: Exception) -> str:
    """The type of an error, with file and line; not its text, which may hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def as_click(argument: str) -> str:
    """`-n=shop`, which kubectl accepts, as `-nshop`."""
    # click would read `=shop` as the value.
    return re.sub(r"^(-[a-z])=", r"\1", argument)
