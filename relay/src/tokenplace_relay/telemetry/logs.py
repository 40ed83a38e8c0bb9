"""Writes JSON log lines to stdout through structlog, with fingerprints in place of keys.

Logged are event names, counts, times, checked request ids and fingerprints. Never logged are
content, keys, tokens, ids chosen by a caller, and addresses.
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
"""The request id of each line. aiohttp runs each request in a context of its own: no reset."""

STDOUT: Final = 1
MAX_BUFFERED_BYTES: Final = 1024 * 1024
"""Lines beyond this are dropped until the reader catches up."""
BLOCKING_FLUSH_SECONDS: Final = 1.0
"""How long an ending process, or a thread without an event loop, waits for the reader."""
_RETRY_SECONDS: Final = 0.02
_BATCH_SECONDS: Final = 0.005
_encoder: Final = msgspec.json.Encoder(enc_hook=repr)


class LineWriter:
    """Writes the log lines of 5 ms in one system call.

    A system call per line would cost more than making the line, and wake the reader each time. A
    slow reader blocks nothing: lines are buffered up to a limit, then dropped and counted.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self.to(STDOUT)

    def to(self, target: int) -> None:
        """Write to this file descriptor."""
        self._target = target
        self._poller = select.poll()
        self._poller.register(target, select.POLLOUT)
        self._flushing_loop: asyncio.AbstractEventLoop | None = None
        """The event loop that will flush the buffer."""

    def msg(self, line: bytes) -> None:
        """Write a line soon, or at once if no event loop runs."""
        if len(self._buffer) > MAX_BUFFERED_BYTES:
            self.dropped += 1
            return
        self._buffer += line + b"\n"
        # A loop that was closed before its flush would leave the lines in the buffer.
        if self._flushing_loop is None or self._flushing_loop.is_closed():
            self._flush_soon(_BATCH_SECONDS)

    def flush(self, patience: float = 0.0) -> None:
        """Write what the reader accepts; wait for it at most `patience` seconds per write."""
        self._flushing_loop = None
        # Threads without an event loop flush at once, perhaps while the loop is flushing.
        with self._lock:
            while self._buffer and self._poller.poll(patience * 1000):
                self._write_some()
        if self._buffer and not patience:
            self._flush_soon(_RETRY_SECONDS)
        elif self.dropped:
            # Reset first: the warning itself may be dropped and counted.
            dropped, self.dropped = self.dropped, 0
            get("tokenplace.relay.logs").warning("lines dropped", count=dropped)

    def _write_some(self) -> None:
        try:
            # A pipe that polls as writable takes at least PIPE_BUF bytes without blocking.
            written = os.write(self._target, self._buffer[: select.PIPE_BUF])
        except OSError:
            # The reader is gone, so these lines cannot be written anywhere.
            written = len(self._buffer)
        del self._buffer[:written]

    def _flush_soon(self, seconds: float) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush(BLOCKING_FLUSH_SECONDS)
            return
        self._flushing_loop = loop
        loop.call_later(seconds, self.flush)


_writer: Final = LineWriter()


def configure(level: str, target: int = STDOUT) -> None:
    """Write every log line of the process, from `level` up, as JSON to a file descriptor."""
    _writer.to(target)
    structlog.configure(
        wrapper_class=_logger_class(level),
        logger_factory=lambda: _writer,
        cache_logger_on_first_use=True,
    )
    # Without force=True, basicConfig does nothing if a library has installed a handler.
    logging.basicConfig(handlers=[_Bridge()], level=level, force=True)


@atexit.register
def flush() -> None:
    """Write all buffered lines; called when the process ends."""
    _writer.flush(BLOCKING_FLUSH_SECONDS)


def get(name: str) -> FilteringBoundLogger:
    """Return a logger that puts `name` into each line."""
    logger: FilteringBoundLogger = structlog.get_logger(logger_name=name)
    return logger


def fingerprint(text: str) -> str:
    """Return the first 12 hex digits of the SHA-256 of a text: enough to follow a key in a log."""
    # aiohttp decodes header bytes that are not UTF-8 to lone surrogates, which strict UTF-8
    # rejects.
    return short(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())


def short(digest: bytes) -> str:
    """Return the fingerprint of a text whose SHA-256 is known."""
    return digest[:6].hex()


def _logger_class(level: str) -> type[Any]:
    """Return a logger class that renders a line directly, without a chain of processors."""
    base: Any = structlog.make_filtering_bound_logger(level)

    class DirectLogger(base):  # type: ignore[misc]
        def _proxy_to_logger(self, level: str, message: str, /, **facts: object) -> None:
            self._logger.msg(_render(self._context["logger_name"], level, message, facts))

    return DirectLogger


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
    """Return UTC in ISO 8601 with milliseconds."""
    milliseconds = nanoseconds // 1_000_000
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@lru_cache(maxsize=1)
def _second(number: int) -> str:
    """Return date and time, which all lines of one second share."""
    return datetime.fromtimestamp(number, UTC).isoformat()[: -len("+00:00")]


class _Bridge(logging.Handler):
    """Writes the log records of libraries as JSON lines, without their messages and arguments.

    Of an exception only the type is logged, because its text may quote a request.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        extra = {"error": error} if error else {}
        # A library may define levels of its own; they are rounded down to a standard one.
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        get(record.name).log(level, "library", source=record.funcName, **extra)
