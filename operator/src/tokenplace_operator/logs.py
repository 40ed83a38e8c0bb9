"""One JSON line per event on stderr, from our code and from kopf, aiohttp and asyncio alike.

Lines written during a reconcile carry the relay's key and the id of that reconcile.
"""

import logging
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tokenplace_operator.api.kinds import Key

Logger = structlog.stdlib.BoundLogger


def configure(level: str) -> None:
    """Send all logging of the process through one JSON formatter."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        # Loggers are made at import, and a cached one would keep the settings of its first line.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            # Lines of kopf and aiohttp have not passed structlog: they get the same fields here.
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    quieten_kopf()


def quieten_kopf() -> None:
    """Kopf writes a line per object and event at INFO; keep what is worse."""
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def get_logger(name: str) -> Logger:
    """Return a logger whose keyword arguments become fields of the line."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def reconciling(key: Key) -> Iterator[None]:
    """Put the relay and a fresh reconcile id on every line logged inside."""
    with structlog.contextvars.bound_contextvars(
        relay="/".join(key), reconcile=secrets.token_hex(4)
    ):
        yield
