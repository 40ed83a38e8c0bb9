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
from tokenplace_operator.cli.connection import Output
from tokenplace_operator.cli.exit_codes import Exit, tell_error
from tokenplace_operator.cli.output import Format, plain, show, show_json

PROGRAM = "kubectl tokenplace"

_WrongUsage: Any = typer.BadParameter.__base__
"""typer has a click of its own, of which it gives out this one error only."""

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
def version(*, output: Output = Format.TEXT) -> None:
    """Print the version."""
    if output is Format.JSON:
        show_json({"version": __version__})
    else:
        show([plain(__version__)])


def run() -> None:
    """Run as the plugin."""
    code = main([as_click(one) for one in sys.argv[1:]])
    code = flushed(code)
    # Python flushes once more at its end, and would complain of what was told here.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def flushed(code: int) -> int:
    """The exit code once all is written; another one when it could not be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return Exit.UNREAD
    except OSError as error:
        tell_error(_reason(error))
        return Exit.USAGE
    return code


def main(arguments: list[str]) -> int:
    """Run one command; its exit code. Errors are one line on standard error."""
    try:
        code = cli(arguments, prog_name=PROGRAM, standalone_mode=False)
    except _WrongUsage as error:
        return _wrong_usage(error, arguments)
    except typer.Abort:
        return Exit.INTERRUPTED
    except SystemExit:
        return Exit.UNREAD  # What typer does about a closed pipe.
    except OSError as error:
        tell_error(_reason(error))
        return Exit.USAGE
    except Exception as error:  # noqa: BLE001 (a traceback ends with code 1, which means no)
        tell_error(f"a defect of this program, please report it: {_where(error)}")
        return Exit.DEFECT
    return int(code or 0)


def _wrong_usage(error: Any, arguments: list[str]) -> int:  # noqa: ANN401 (of typer's own click)
    if not arguments:
        error.show()  # What there is: the page of --help.
        return Exit.USAGE
    path = error.ctx.command_path if error.ctx is not None else PROGRAM
    text = error.format_message().replace("Value error, ", "").rstrip(".")
    tell_error(f"{text}; see {path} --help")
    return Exit.USAGE


def _reason(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def _where(error: Exception) -> str:
    """The kind of an error and the line it comes from; not its text, which may hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def as_click(argument: str) -> str:
    """`-n=shop`, which kubectl takes, as `-nshop`."""
    return re.sub(r"^(-[a-z])=", r"\1", argument)
