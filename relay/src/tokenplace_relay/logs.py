"""JSON lines on stdout, and the fingerprints that stand for keys in them.

What is logged: event names, counts, times, request ids made safe, fingerprints. Never content,
keys, tokens, ids chosen by strangers, or addresses.
"""

import asyncio
import atexit
import contextlib
import hashlib
import logging
import sys
from collections import deque
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""In each line that a request causes. Its task has a context of its own, so nothing resets it."""

_LEVELS: Final = logging.getLevelNamesMapping()
_NAMES: Final = {number: logging.getLevelName(number).lower() for number in _LEVELS.values()}
_encoder: Final = msgspec.json.Encoder(enc_hook=repr)


class Lines:
    """Where lines go, from a level on; those of one turn of the event loop leave in one write.

    A system call for each line would cost more than all the rest of it.
    """

    def __init__(self, stream: BinaryIO, level: int) -> None:
        self._stream = stream
        self._waiting: deque[bytes] = deque()
        self.level = level

    def add(self, level: int, component: str, event: str, fields: dict[str, object]) -> None:
        """Say an event now, or at the end of this turn where a loop runs."""
        line: dict[str, object] = {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": _NAMES.get(level, "info"),
            "logger": component,
            "message": event,
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line.update(fields)
        self._waiting.append(_encoder.encode(line))
        if len(self._waiting) == 1:
            self._flush_soon()

    def flush(self) -> None:
        """Write what waits; where nobody reads any more, nobody can be told of it."""
        text = bytearray()
        while self._waiting:
            text += self._waiting.popleft()
            text += b"\n"
        with contextlib.suppress(OSError):
            self._stream.write(text)
            self._stream.flush()

    def _flush_soon(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            loop.call_soon(self.flush)


class Log:
    """Says the events of one component, each with named fields."""

    def __init__(self, component: str) -> None:
        self._component = component

    def debug(self, event: str, /, **fields: object) -> None:
        """What only somebody who looks for a fault wants to read."""
        self.say(logging.DEBUG, event, **fields)

    def info(self, event: str, /, **fields: object) -> None:
        """What happens."""
        self.say(logging.INFO, event, **fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """What an operator should know."""
        self.say(logging.WARNING, event, **fields)

    def error(self, event: str, /, **fields: object) -> None:
        """What went wrong by our own fault."""
        self.say(logging.ERROR, event, **fields)

    def say(self, level: int, event: str, /, **fields: object) -> None:
        """An event of any level."""
        lines = _process.lines
        if lines is not None and level >= lines.level:
            lines.add(level, self._component, event, fields)


@dataclass(slots=True)
class _Process:
    """The lines of this process, None until `configure`: loggers are made before it."""

    lines: Lines | None = None


_process: Final = _Process()


def configure(level: str, stream: BinaryIO | None = None) -> None:
    """Send every log line of the process, from `level` on, as JSON to `stream` (stdout)."""
    _process.lines = Lines(stream or sys.stdout.buffer, _LEVELS[level])
    logging.basicConfig(handlers=[_Bridge()], level=level, force=True)


@atexit.register
def flush() -> None:
    """Write what waits for the end of its turn: there may be no other one."""
    if _process.lines is not None:
        _process.lines.flush()


def get(name: str) -> Log:
    """Return the logger that puts `name` into each line."""
    return Log(name)


def fingerprint(text: str) -> str:
    """Return 12 hex digits that stand for a key or an id: the start of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class _Bridge(logging.Handler):
    """Carry records of libraries into the same stream, without their arguments.

    An exception is named by its type only: its text can quote what a stranger sent.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        extra = {"error": error} if error else {}
        get(record.name).say(record.levelno, "library", source=record.funcName, **extra)
