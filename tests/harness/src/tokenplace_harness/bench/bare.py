"""The limit: bare aiohttp on uvloop that parses what comes and returns as much as the relay.

Usage: python -m tokenplace_harness.bench.bare PORT-FILE
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from aiohttp import web

from tokenplace_harness.bench.calls import ANSWERS

HELD = web.AppKey("held", list[str])


async def answer(request: web.Request) -> web.Response:
    """Parse the body, and make JSON of an answer like the relay's."""
    body: dict[str, Any] = msgspec.json.decode(await request.read() or b"{}")
    content = msgspec.json.encode(ANSWERS.get(request.path, body))
    return web.Response(body=content, content_type="application/json")


async def hold(request: web.Request) -> web.Response:
    """Hold a poll until its time is over."""
    await request.read()
    request.app[HELD].append(request.path)
    await asyncio.sleep(float(request.query.get("seconds", "20")))
    request.app[HELD].pop()
    return web.Response(body=b"{}", content_type="application/json")


async def metrics(request: web.Request) -> web.Response:
    """The number of held polls, in the shape of the relay."""
    return web.Response(text=f"tokenplace_relay_held_polls {len(request.app[HELD])}\n")


async def serve(place: Path) -> None:
    """Serve until killed; writes the port to a file."""
    app = web.Application(client_max_size=4 * 1024 * 1024)
    app[HELD] = []
    routes = [web.post("/hold", hold), web.get("/livez", answer), web.get("/metrics", metrics)]
    # Routes of their own, as the relay has: a pattern for all would cost a match.
    routes += [make(path, answer) for path in ANSWERS for make in (web.get, web.post)]
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    # Written whole, then seen.
    partial = place.with_suffix(".partial")
    partial.write_text(str(runner.addresses[0][1]))
    partial.rename(place)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
