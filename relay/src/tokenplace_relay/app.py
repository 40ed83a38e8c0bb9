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
from tokenplace_relay.api.node_list import NODE_LIST, NodeList
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
from tokenplace_relay.api.state_collector import COLLECTOR, StateCollector
from tokenplace_relay.facade import facade
from tokenplace_relay.facade import routes as facade_routes
from tokenplace_relay.rate_limit.policy import RatePolicy
from tokenplace_relay.server import direct, runner
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.memory import MemoryState
from tokenplace_relay.telemetry.logs import get
from tokenplace_relay.telemetry.metrics import Metrics

log = get("tokenplace.relay.app")

_DIRECT_MODULES: Final = (clients, nodes, progress)
"""The routes of the busiest calls, which are found without aiohttp's router."""
_MODULES: Final = (page, health, about, facade_routes, operators, legacy, fallback)
"""All other routes, in the order in which the router tries them; the last one fits every path."""


def make_app(config: Config, clock: Callable[[], float] = time.monotonic) -> web.Application:
    """A relay that shares nothing with another relay in the same process."""
    state, metrics = MemoryState(config, clock), Metrics(config)
    app = web.Application(client_max_size=config.max_envelope_bytes)
    context = Context(config, state, metrics, RatePolicy(config, clock))
    app[CONTEXT] = context
    app[facade.FACADE] = facade.make(context)
    app[NODE_LIST] = NodeList(config, state)
    app[upstream.UPSTREAM] = upstream.make(config)
    app[COLLECTOR] = StateCollector(state, metrics, app[upstream.UPSTREAM])
    metrics.registry.register(app[COLLECTOR])
    injector = fault_injection.make_injector(config)
    direct_routes = [
        instrument.instrument_direct(route, context, injector)
        for module in _DIRECT_MODULES
        for route in module.routes()
    ]
    app[DIRECT] = direct.table(direct_routes)
    # The router has them too, for the Allow header and for requests with Expect.
    app.add_routes([web.route(route.method, route.path, route.handler) for route in direct_routes])
    for other in _MODULES:
        app.add_routes(
            [instrument.instrument(route, context, injector) for route in other.routes()]
        )
    # Contexts close in reverse order, so the state closes after everything that uses it.
    app.cleanup_ctx.extend([_connected, _housekeeping, upstream.probing, facade.serving])
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """Return what serves an application made by `make_app`."""
    context = app[CONTEXT]
    return runner.make_runner(app, context.config, context.metrics, context.unsent, app[DIRECT])


async def _connected(app: web.Application) -> AsyncIterator[None]:
    """Open the state before the first request, and close it after the last."""
    await app[CONTEXT].state.open()
    yield
    await app[CONTEXT].state.close()


async def _housekeeping(app: web.Application) -> AsyncIterator[None]:
    """Sweep the state by a timer, and measure how late the event loop runs."""
    context = app[CONTEXT]

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(context.config.housekeeping_interval)
            # The timer is late by as long as a handler blocked the loop, and every caller waited
            # with it.
            late = loop.time() - before - context.config.housekeeping_interval
            context.metrics.loop_lag.set(max(0.0, late))
            try:
                await context.state.sweep()
                # A caller that never returns would leave its rate windows in memory.
                context.rates.limiter.evict()
            except Exception as error:  # noqa: BLE001 (the timer must survive)
                name = type(error).__name__
                log.error("housekeeping failed", error=name)  # noqa: TRY400 (a text may quote)

    task = asyncio.create_task(tick(), name="housekeeping")
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
