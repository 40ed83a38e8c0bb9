"""JSON lines on stdout through structlog, and the fingerprints that stand for keys in them.

What is logged: event names, counts, times, request ids made safe, fingerprints. Never content,
keys, tokens, ids chosen by strangers, or addresses.
"""

import hashlib
import logging
import sys
from datetime import UTC, datetime
from typing import BinaryIO

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

_encoder = msgspec.json.Encoder(enc_hook=repr)


def configure(level: str, stream: BinaryIO | None = None) -> None:
    """Send every log line of the process, from `level` on, as JSON to `stream` (stdout)."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_time,
            structlog.processors.format_exc_info,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(stream or sys.stdout.buffer),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=level, force=True)


def get(name: str) -> FilteringBoundLogger:
    """Return the logger that puts `name` into each line."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def fingerprint(text: str) -> str:
    """Return 12 hex digits that stand for a key or an id: the start of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    event["timestamp"] = now.replace("+00:00", "Z")
    return event


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    event["message"] = event.pop("event")
    # structlog has the other name for itself.
    event["logger"] = event.pop("component")
    return _encoder.encode(event)


class _Bridge(logging.Handler):
    """Carry records of libraries into the same stream, without their arguments.

    An exception is named by its type only: its text can quote what a stranger sent.
    """

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        extra = {"error": error} if error else {}
        get(record.name).log(record.levelno, "library", source=record.funcName, **extra)
