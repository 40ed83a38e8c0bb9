"""Exit codes of `kubectl tokenplace`, and errors as one line on standard error."""

import asyncio
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn

import typer

from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.cli.output import BROKEN_PIPE_CODE, printable
from tokenplace_operator.kube.errors import Forbidden, KubeError, NotFound, Unavailable


class Exit(IntEnum):
    """Exit codes of every command; docs/cli.md documents them."""

    OK = 0
    NO = 1
    """The answer is no: not Ready, different, not pinned, the probe failed."""
    USAGE = 2
    NOT_FOUND = 3
    UNREACHABLE = 4
    FORBIDDEN = 5
    REJECTED = 6
    INTERNAL_ERROR = 70
    """A bug in this program. Not 1, which scripts read as the answer no."""
    INTERRUPTED = 130
    BROKEN_PIPE = BROKEN_PIPE_CODE


class CliError(Exception):
    """Ends a command with an exit code and a message of one line."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


def run_and_exit(command: Coroutine[Any, Any, Exit]) -> NoReturn:
    """Run a command to its end and raise typer.Exit with its exit code."""
    try:
        code = asyncio.run(command)
    except (CliError, KubeError, SpecError) as error:
        cli_error = as_cli_error(error)
        print_error(str(cli_error))
        code = cli_error.code
    raise typer.Exit(code)


def print_error(text: str) -> None:
    """Print one line on standard error."""
    typer.echo(f"error: {printable(text)}", err=True)


def as_cli_error(error: CliError | KubeError | SpecError) -> CliError:
    """Translate an error into its exit code and a message for users."""
    match error:
        case CliError():
            return error
        case SpecError():
            return CliError(Exit.REJECTED, f"the operator cannot read this spec: {error}")
        case NotFound():
            return CliError(Exit.NOT_FOUND, _not_found_text(error))
        case Forbidden():
            return CliError(Exit.FORBIDDEN, _forbidden_text(error))
        case Unavailable():
            return CliError(Exit.UNREACHABLE, _unavailable_text(error))
    return CliError(
        Exit.REJECTED, f"the API server rejected the request: {error.message or error.reason}"
    )


def _not_found_text(error: NotFound) -> str:
    # The API server answers 404 for a missing object and for a missing CRD; only the body differs.
    if error.knows_kind:
        return error.message
    return (
        "this cluster does not serve TokenplaceRelay; install the CRD: "
        "kubectl apply --server-side -f crds/"
    )


def _forbidden_text(error: Forbidden) -> str:
    if error.code == 401:
        return "the cluster does not accept your credentials; log in again"
    return f"forbidden: {error.message}"


def _unavailable_text(error: Unavailable) -> str:
    if error.reason == "Config":
        return error.message
    return f"the cluster does not answer: {error.message or f'{error.code} {error.reason}'}"
