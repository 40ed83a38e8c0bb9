"""JSON lines on stdout through structlog, and the fingerprints that stand for keys in them.

What is logged: event names, counts, times, request ids made safe, fingerprints. Never content,
keys, tokens, ids chosen by strangers, or addresses.
"""

import asyncio
import atexit
import hashlib
import logging
import os
import select
import threading
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""In each line that a request causes. Its task has a context of its own, so nothing resets it."""

STDOUT: Final = 1
MOST_BYTES: Final = 1024 * 1024
"""Of lines that wait for a slow reader."""
PATIENCE_SECONDS: Final = 1.0
"""How long a process that ends, or a thread without a loop, waits for the reader."""
_PAUSE_SECONDS: Final = 0.02
_GATHER_SECONDS: Final = 0.005
_encoder: Final = msgspec.json.Encoder(enc_hook=repr)


class Lines:
    """Where lines go: those of 5 ms leave together.

    A system call for each line would cost more than all the rest of it, and wake the reader.
    Nothing waits for a reader that is slow: lines are kept meanwhile, up to a bound, then dropped
    and counted.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting = bytearray()
        self._lock = threading.Lock()
        self.to(STDOUT)

    def to(self, target: int) -> None:
        """Write to this file descriptor from now on."""
        self._target = target
        self._poller = select.poll()
        self._poller.register(target, select.POLLOUT)
        self._due_in: asyncio.AbstractEventLoop | None = None
        """The loop that will write what waits."""

    def msg(self, line: bytes) -> None:
        """Write a line soon, or now where no loop runs."""
        if len(self._waiting) > MOST_BYTES:
            self.dropped += 1
            return
        self._waiting += line + b"\n"
        if self._due_in is None or self._due_in.is_closed():
            self._flush_soon(_GATHER_SECONDS)

    def flush(self, patience: float = 0.0) -> None:
        """Write what the reader has room for; wait for it at most so many seconds each time."""
        self._due_in = None
        with self._lock:
            while self._waiting and self._poller.poll(patience * 1000):
                self._write_some()
        if self._waiting and not patience:
            self._flush_soon(_PAUSE_SECONDS)
        elif self.dropped:
            dropped, self.dropped = self.dropped, 0
            get("tokenplace.relay.logs").warning("lines dropped", count=dropped)

    def _write_some(self) -> None:
        try:
            # A pipe that is ready has room for so much, at least.
            written = os.write(self._target, self._waiting[: select.PIPE_BUF])
        except OSError:
            # Where nobody reads any more, nobody can be told of it.
            written = len(self._waiting)
        del self._waiting[:written]

    def _flush_soon(self, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush(PATIENCE_SECONDS)
            return
        self._due_in = loop
        loop.call_later(seconds, self.flush)


_lines: Final = Lines()


def configure(level: str, target: int = STDOUT) -> None:
    """Send every log line of the process, from `level` on, as JSON to a file descriptor."""
    _lines.to(target)
    structlog.configure(
        wrapper_class=_quick(level),
        logger_factory=lambda: _lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=level, force=True)


@atexit.register
def flush() -> None:
    """Write what waits for its time: it may never come."""
    _lines.flush(PATIENCE_SECONDS)


def get(name: str) -> FilteringBoundLogger:
    """Return the logger that puts `name` into each line."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


def fingerprint(text: str) -> str:
    """Return 12 hexadecimal digits of SHA-256: enough to follow a key through a log."""
    return short(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


def short(digest: bytes) -> str:
    """Return the fingerprint of what has this SHA-256."""
    return digest[:6].hex()


def _quick(level: str) -> type[Any]:
    """A logger that makes its line at once: there is no chain of processors to copy it for."""
    base: Any = structlog.make_filtering_bound_logger(level)

    class Quick(base):  # type: ignore[misc]
        def _proxy_to_logger(self, level: str, message: str, /, **facts: object) -> None:
            self._logger.msg(_render(self._context["logger_name"], level, message, facts))

    return Quick


def _render(name: str, level: str, message: str, facts: dict[str, object]) -> bytes:
    line: dict[str, object] = {
        "timestamp": _timestamp(time.time_ns()),
        "level": level,
        "logger": name,
        "message": message,
    }
    if request_id := REQUEST_ID.get():
        line["request_id"] = request_id
    line.update(facts)
    return _encoder.encode(line)


def _timestamp(nanoseconds: int) -> str:
    """UTC in ISO 8601 to the millisecond."""
    milliseconds = nanoseconds // 1_000_000
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=1)
def _second(number: int) -> str:
    """What all lines of one second have in common."""
    return datetime.fromtimestamp(number, UTC).isoformat()[: -len("+00:00")]


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
