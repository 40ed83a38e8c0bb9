"""What all verbs print: aligned columns, ages, JSON; colour on a terminal only."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

NOBODY_READS = 141
"""Exit code when the pipe was closed: what a shell calls the end by SIGPIPE."""

GOOD, BAD, DIM, BOLD = "green", "red", "dim", "bold"

Cell = str | Text
Line = Text


class Format(StrEnum):
    """Values of --output."""

    TEXT = "text"
    JSON = "json"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the program with code 1, which means no."""
        raise typer.Exit(NOBODY_READS)


def show(lines: Iterable[Line], *, aside: bool = False) -> None:
    """Print lines as they are: never wrapped, coloured only on a terminal (and not by NO_COLOR).

    aside: on standard error, beside an answer that a program may read.
    """
    file = sys.stderr if aside else sys.stdout
    console = _Console(file=file, highlight=False, markup=False, emoji=False)
    for line in lines:
        console.print(line, soft_wrap=True)


def show_json(content: object) -> None:
    """Print JSON for programs."""
    write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write(text: str) -> None:
    """Print a text that goes to a program or into a file."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise typer.Exit(NOBODY_READS) from None


def clean(text: str) -> str:
    """One line without control characters: what the cluster says must not steer a terminal."""
    return "".join(one if one.isprintable() else " " for one in text)


def plain(text: str, style: str = "") -> Line:
    """A piece of a line."""
    return Text(clean(text), style=style)


def heading(text: str) -> list[Line]:
    """An empty line and a title."""
    return [Text(), plain(text, BOLD)]


def aligned(rows: Sequence[Sequence[Cell]], indent: int = 2, gap: int = 3) -> list[Line]:
    """Rows with their columns one below the other; nothing after the last column."""
    cells = [[one if isinstance(one, Text) else plain(one) for one in row] for row in rows]
    widths = [max(cell_len(one.plain) for one in column) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        line = Text(" " * indent)
        for position, cell in enumerate(row):
            line.append_text(cell)
            if any(one.plain for one in row[position + 1 :]):
                line.append(" " * (widths[position] - cell_len(cell.plain) + gap))
        lines.append(line)
    return lines


def age(since: str, now: datetime) -> str:
    """How long ago a time of the API was: `45s`, `12m`, `5h`, `3d`; empty when there is none."""
    if not since:
        return ""
    moment = datetime.fromisoformat(since)
    seconds = max(0, int((now - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def utc_now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


def pick(obj: Any, *path: str, default: Any = "") -> Any:  # noqa: ANN401 (JSON of any shape)
    """What is at a path of nested dicts, or the default."""
    for name in path:
        if not isinstance(obj, dict) or name not in obj:
            return default
        obj = obj[name]
    return obj
