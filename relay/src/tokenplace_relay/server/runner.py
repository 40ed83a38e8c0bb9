"""Runs the relay's application: with its own connections, or by aiohttp alone."""

from aiohttp import web

from tokenplace_relay.server.direct import DirectTable
from tokenplace_relay.server.response import plain_response, set_response_factory
from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.metrics import Metrics


def make_runner(
    app: web.Application,
    config: Config,
    metrics: Metrics,
    unsent: UnsentBytes,
    direct: DirectTable,
) -> web.AppRunner:
    """Return the runner of a relay; its mode holds for all responses of the process."""
    if config.plain_http:
        set_response_factory(plain_response)
        return _plain_runner(app, config)
    # Imported only here: a plain relay must start even if aiohttp's internals have changed.
    from tokenplace_relay.server import aiohttp_internals, connection  # noqa: PLC0415

    set_response_factory(aiohttp_internals.OneStepResponse)
    return connection.runner(app, config, metrics, unsent, direct)


def _plain_runner(app: web.Application, config: Config) -> web.AppRunner:
    """Return aiohttp's own runner, with those of the relay's bounds that it knows."""
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,
        shutdown_timeout=1,
        keepalive_timeout=config.keepalive_timeout,
        max_line_size=config.max_url_bytes,
        max_field_size=config.max_header_bytes,
        max_headers=config.max_headers,
        # A compressed body is refused, so a small one cannot unpack to a large one.
        auto_decompress=False,
    )
