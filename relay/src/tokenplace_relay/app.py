"""The relay as an aiohttp application: its parts, its routes and its housekeeping."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from tokenplace_relay import (
    about_routes,
    around,
    client_routes,
    facade,
    facade_routes,
    faults,
    legacy_routes,
    node_routes,
    operator_routes,
    ops,
    page_routes,
    progress_routes,
    unknown_routes,
    upstream,
)
from tokenplace_relay.collectors import StateCollector
from tokenplace_relay.config import Config
from tokenplace_relay.context import CONTEXT, DIRECT, Context
from tokenplace_relay.logs import get
from tokenplace_relay.memory import Memory
from tokenplace_relay.metrics import Metrics
from tokenplace_relay.polls import Polls, Retrieves
from tokenplace_relay.quota import Quota
from tokenplace_relay.roster import ROSTER, Roster

log = get("tokenplace.relay.app")

_MODULES: Final = (
    page_routes,
    ops,
    about_routes,
    facade_routes,
    client_routes,
    node_routes,
    progress_routes,
    operator_routes,
    legacy_routes,
    unknown_routes,
)
"""Each says in `routes()` what it serves; the last one has what no other fits."""
_OF_PEERS: Final = (client_routes, node_routes, progress_routes)
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
    strikes = faults.switch(config)
    app[DIRECT] = {}
    for module in _MODULES:
        routes = [around.observed(one, context, strikes) for one in module.routes()]
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
