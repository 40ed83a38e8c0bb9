"""The relay as an aiohttp application: its parts, its routes and its housekeeping."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from tokenplace_relay import upstream
from tokenplace_relay.api.app_context import CONTEXT, DIRECT, Context
from tokenplace_relay.api.middleware import fault_injection, instrument
from tokenplace_relay.api.middleware.quota import Quota
from tokenplace_relay.api.node_list import ROSTER, Roster
from tokenplace_relay.api.routes import (
    about,
    clients,
    fallback,
    health,
    legacy,
    nodes,
    operators,
    page,
    progress,
)
from tokenplace_relay.facade import facade
from tokenplace_relay.facade import routes as facade_routes
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.memory import Memory
from tokenplace_relay.state.waiters import Polls, Retrieves
from tokenplace_relay.telemetry.logs import get
from tokenplace_relay.telemetry.metrics import Metrics
from tokenplace_relay.telemetry.state_collector import StateCollector

log = get("tokenplace.relay.app")

_MODULES: Final = (
    page,
    health,
    about,
    facade_routes,
    clients,
    nodes,
    progress,
    operators,
    legacy,
    fallback,
)
"""Each says in `routes()` what it serves; the last one has what no other fits."""
_OF_PEERS: Final = (clients, nodes, progress)
"""Those of calls that are many; their paths are fixed, and they need nothing of the application."""


def make_app(config: Config, clock: Callable[[], float] = time.monotonic) -> web.Application:
    """A relay of its own, sharing nothing with another in the same process."""
    polls, retrieves, metrics = Polls(), Retrieves(), Metrics(config)
    state = Memory(config, clock, polls.wake_one, retrieves.wake_all_of)
    app = web.Application(client_max_size=config.max_envelope_bytes)
    context = Context(config, state, polls, metrics, retrieves, Quota(config, clock))
    app[CONTEXT] = context
    app[facade.FACADE] = facade.make(context)
    app[ROSTER] = Roster(config, state)
    app[upstream.UPSTREAM] = upstream.make(config)
    metrics.registry.register(StateCollector(state, polls, app[upstream.UPSTREAM]))
    strikes = fault_injection.switch(config)
    app[DIRECT] = {}
    for module in _MODULES:
        routes = [instrument.observed(one, context, strikes) for one in module.routes()]
        app.add_routes(routes)
        if module in _OF_PEERS:
            app[DIRECT].update({(one.method, one.path): one.handler for one in routes})
    app.cleanup_ctx.extend([_housekeeping, upstream.probing, facade.serving])
    return app


async def _housekeeping(app: web.Application) -> AsyncIterator[None]:
    """Expire and forget by timer, and measure how late the loop runs."""
    context = app[CONTEXT]

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(context.config.housekeeping_interval)
            late = loop.time() - before - context.config.housekeeping_interval
            context.metrics.loop_lag.set(max(0.0, late))
            try:
                context.state.housekeep()
                context.quota.limiter.forget()
            except Exception as error:  # noqa: BLE001 (nothing would be forgotten any more)
                name = type(error).__name__
                log.error("housekeeping failed", error=name)  # noqa: TRY400 (a text may quote)

    task = asyncio.create_task(tick(), name="housekeeping")
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
