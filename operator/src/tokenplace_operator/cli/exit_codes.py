"""How the program ends: its exit codes, and errors as one plain line."""

import asyncio
from collections.abc import Coroutine
from enum import IntEnum
from typing import Any, NoReturn

import typer

from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.cli.output import NOBODY_READS, clean
from tokenplace_operator.kube.errors import Forbidden, KubeError, NotFound, Unavailable


class Exit(IntEnum):
    """Exit codes of every verb; docs/cli.md says them for people."""

    YES = 0
    NO = 1
    """The answer is no: not Ready, different, not pinned, the probe failed."""
    USAGE = 2
    NOT_FOUND = 3
    NO_CLUSTER = 4
    FORBIDDEN = 5
    REFUSED = 6
    DEFECT = 70
    """Of this program; 1 would say no."""
    INTERRUPTED = 130
    UNREAD = NOBODY_READS


class CliError(Exception):
    """Ends the program with one line and an exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


def finish(work: Coroutine[Any, Any, Exit]) -> NoReturn:
    """Do the work of a verb and leave with its exit code."""
    try:
        code = asyncio.run(work)
    except (CliError, KubeError, SpecError) as error:
        found = explain(error)
        tell_error(str(found))
        code = found.code
    raise typer.Exit(code)


def tell_error(text: str) -> None:
    """One line on standard error."""
    typer.echo(f"error: {clean(text)}", err=True)


def explain(error: CliError | KubeError | SpecError) -> CliError:
    """What an error means to a person at a terminal."""
    match error:
        case CliError():
            return error
        case SpecError():
            return CliError(Exit.REFUSED, f"the operator cannot read this spec: {error}")
        case NotFound():
            return CliError(Exit.NOT_FOUND, _missing(error))
        case Forbidden():
            return CliError(Exit.FORBIDDEN, _forbidden(error))
        case Unavailable():
            return CliError(Exit.NO_CLUSTER, _unavailable(error))
    return CliError(Exit.REFUSED, f"the API server refused: {error.message or error.reason}")


def _missing(error: NotFound) -> str:
    if error.knows_kind:
        return error.message
    return "this cluster does not know TokenplaceRelay; install the CRD first"


def _forbidden(error: Forbidden) -> str:
    if error.code == 401:
        return "the cluster does not accept your credentials; log in again"
    return f"forbidden: {error.message}"


def _unavailable(error: Unavailable) -> str:
    if error.reason == "Config":
        return error.message
    return f"the cluster does not answer: {error.message or f'{error.code} {error.reason}'}"
