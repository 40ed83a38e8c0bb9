"""JSON lines on stdout through structlog, and the fingerprints that stand for keys in them.

What is logged: event names, counts, times, request ids made safe, fingerprints. Never content,
keys, tokens, ids chosen by strangers, or addresses.
"""

import asyncio
import atexit
import contextlib
import hashlib
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import BinaryIO, Final

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""In each line that a request causes. Its task has a context of its own, so nothing resets it."""

_encoder: Final = msgspec.json.Encoder(enc_hook=repr)


class Lines:
    """Where lines go: those of one turn of the event loop leave in one write.

    A system call for each line would cost more than all the rest of it.
    """

    def __init__(self) -> None:
        self.stream: BinaryIO | None = None
        self._waiting: list[bytes] = []

    def msg(self, line: bytes) -> None:
        """Write a line at the end of this turn, or now where no loop runs."""
        self._waiting.append(line)
        if len(self._waiting) > 1:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            loop.call_soon(self.flush)

    # What structlog calls on the logger that it wraps, by the level of the line.
    debug = info = warning = error = critical = msg

    def flush(self) -> None:
        """Write what waits; where nobody reads any more, nobody can be told of it."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            stream = self.stream or sys.stdout.buffer
            with contextlib.suppress(OSError):
                stream.write(b"\n".join(waiting) + b"\n")
                stream.flush()


_lines: Final = Lines()


def configure(level: str, stream: BinaryIO | None = None) -> None:
    """Send every log line of the process, from `level` on, as JSON to `stream` (stdout)."""
    _lines.stream = stream
    structlog.configure(
        processors=[structlog.processors.add_log_level, _render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda: _lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=level, force=True)


@atexit.register
def flush() -> None:
    """Write what waits for the end of its turn: there may be no other one."""
    _lines.flush()


def get(name: str) -> FilteringBoundLogger:
    """Return the logger that puts `name` into each line."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


def fingerprint(text: str) -> str:
    """Return 12 hexadecimal digits of SHA-256: enough to follow a key through a log."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    line: dict[str, object] = {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": event.pop("level"),
        # structlog has the names `logger` and `event` for itself.
        "logger": event.pop("logger_name"),
        "message": event.pop("event"),
    }
    if request_id := REQUEST_ID.get():
        line["request_id"] = request_id
    line.update(event)
    return _encoder.encode(line)


class _Bridge(logging.Handler):
    """Carry records of libraries into the same stream, without their arguments.

    An exception is named by its type only: its text can quote what a stranger sent.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        extra = {"error": error} if error else {}
        # A library may have levels of its own; the next lower one that all know stands for it.
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        get(record.name).log(level, "library", source=record.funcName, **extra)
