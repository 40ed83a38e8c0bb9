"""/livez, /readyz and /metrics of the operator on one port."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tokenplace_operator.metrics import Metrics

TICK_SECONDS = 1.0
MAX_TICK_AGE_SECONDS = 15.0
MAX_RECONCILE_SECONDS = 300.0


class Health:
    """The state behind the probes.

    Alive: the event loop ticks and no reconcile is stuck. An unavailable API server is not part
    of it, because a restart would not help. Ready: in the election, as leader or standby.
    """

    def __init__(
        self, clock: Callable[[], float], longest_running: Callable[[], float], metrics: Metrics
    ) -> None:
        self._clock = clock
        self._longest_running = longest_running
        self._metrics = metrics
        self._ticked_at = clock()
        self.ready = False

    async def tick(self) -> None:
        """Record every second that the event loop runs, and how late it is."""
        while True:
            before = self._clock()
            await asyncio.sleep(TICK_SECONDS)
            self._ticked_at = self._clock()
            self._metrics.event_loop_lag.set(max(0.0, self._ticked_at - before - TICK_SECONDS))

    def problem(self) -> str | None:
        """Why this process should be restarted, or None."""
        age = self._clock() - self._ticked_at
        if age > MAX_TICK_AGE_SECONDS:
            return f"the event loop last ticked {age:.0f} s ago"
        running = self._longest_running()
        if running > MAX_RECONCILE_SECONDS:
            return f"a reconcile runs for {running:.0f} s"
        return None


def make_app(health: Health, metrics: Metrics) -> web.Application:
    """Build the application; none of its handlers needs the API server."""

    async def livez(_: web.Request) -> web.Response:
        problem = health.problem()
        return web.Response(text=problem or "ok", status=500 if problem else 200)

    async def readyz(_: web.Request) -> web.Response:
        if health.ready:
            return web.Response(text="ok")
        return web.Response(text="starting or stopping", status=503)

    async def expose(_: web.Request) -> web.Response:
        body = generate_latest(metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", expose)
    return app


@asynccontextmanager
async def serve(health: Health, metrics: Metrics, port: int) -> AsyncIterator[int]:
    """Serve on all addresses; yields the port, a free one for port 0."""
    # No access log: probes and scrapes would be most of the lines.
    runner = web.AppRunner(make_app(health, metrics), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    # The ticks run from the start, also while the process waits for the Lease.
    ticking = asyncio.create_task(health.tick(), name="tick")
    try:
        listener = _listen(port)
        await web.SockSite(runner, listener).start()
        yield int(listener.getsockname()[1])
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        await runner.cleanup()


def _listen(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6, so that port 0 gives both the same port."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    # A node may run without IPv6.
    return socket.create_server(("", port))
