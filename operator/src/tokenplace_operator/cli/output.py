"""Output of all commands: aligned columns, ages, JSON; colour on a terminal only."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

BROKEN_PIPE_CODE = 141
"""Exit code when the reader closed the pipe: 128 + SIGPIPE, as shells report it."""

GOOD, BAD, DIM, BOLD = "green", "red", "dim", "bold"

Cell = str | Text
Line = Text


class Format(StrEnum):
    """Values of --output."""

    TEXT = "text"
    JSON = "json"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would exit with code 1, which scripts read as the answer no.
        raise typer.Exit(BROKEN_PIPE_CODE)


def show(lines: Iterable[Line], *, stderr: bool = False) -> None:
    """Print lines without wrapping; coloured only on a terminal and unless NO_COLOR is set.

    stderr: print on standard error, so that standard output holds only the answer.
    """
    file = sys.stderr if stderr else sys.stdout
    # No markup: text from a cluster may hold brackets, which rich would interpret as styles.
    console = _Console(file=file, highlight=False, markup=False, emoji=False)
    for line in lines:
        # soft_wrap: a table that is cut by the terminal can still be piped and searched.
        console.print(line, soft_wrap=True)


def show_json(content: object) -> None:
    """Print a JSON document on standard output."""
    write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write(text: str) -> None:
    """Write text to standard output as it is; typer.Exit when the reader closed the pipe."""
    try:
        sys.stdout.write(text)
        # Flushed here, because a closed pipe would otherwise show only at exit, as a traceback.
        sys.stdout.flush()
    except BrokenPipeError:
        raise typer.Exit(BROKEN_PIPE_CODE) from None


def printable(text: str) -> str:
    """One line without control characters, so that text from a cluster cannot drive a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def plain(text: str, style: str = "") -> Line:
    """A part of a line, in a rich style."""
    return Text(printable(text), style=style)


def heading(text: str) -> list[Line]:
    """An empty line and a title."""
    return [Text(), plain(text, BOLD)]


def aligned(rows: Sequence[Sequence[Cell]], indent: int = 2, gap: int = 3) -> list[Line]:
    """Lines with aligned columns and no trailing spaces; indent and gap in characters."""
    cells = [[cell if isinstance(cell, Text) else plain(cell) for cell in row] for row in rows]
    # Cells, not characters: wide characters take two columns of a terminal.
    widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        line = Text(" " * indent)
        for position, cell in enumerate(row):
            line.append_text(cell)
            if any(later.plain for later in row[position + 1 :]):
                line.append(" " * (widths[position] - cell_len(cell.plain) + gap))
        lines.append(line)
    return lines


def age(since: str, now: datetime) -> str:
    """Time since an RFC 3339 timestamp, as `45s`, `12m`, `5h` or `3d`; empty without one."""
    if not since:
        return ""
    # The clock of this machine may be behind the cluster's; a negative age would confuse.
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        # From two units up, as kubectl does: 90s, 2m, 119m, 2h.
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def pick(obj: Any, *path: str, default: Any = "") -> Any:  # noqa: ANN401 (JSON of any shape)
    """The value at a path of nested dicts, or the default."""
    for name in path:
        if not isinstance(obj, dict) or name not in obj:
            return default
        obj = obj[name]
    return obj
