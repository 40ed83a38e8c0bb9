"""Answers unknown paths, unsupported methods, and OPTIONS."""

from aiohttp import web

from tokenplace_relay.api import cors
from tokenplace_relay.api.middleware.instrument import EVERY_PATH


def routes() -> list[web.RouteDef]:
    """Return a route for every path and method; it must be added last."""
    return [web.route("*", EVERY_PATH, unknown)]


async def unknown(request: web.Request) -> web.StreamResponse:
    """Answer 404, or 405 with the allowed methods, or OPTIONS with them."""
    if request.method == "OPTIONS" and cors.is_open(request.path):
        return web.Response(status=204, headers=cors.PREFLIGHT)
    allowed = await _allowed(request)
    if not allowed:
        raise web.HTTPNotFound
    if request.method != "OPTIONS":
        raise web.HTTPMethodNotAllowed(request.method, allowed)
    return web.Response(headers={"Allow": ", ".join(sorted({*allowed, "OPTIONS"}))})


async def _allowed(request: web.Request) -> set[str]:
    """Return the methods of the other routes with this path."""
    allowed: set[str] = set()
    for resource in request.app.router.resources():
        # The fallback route itself accepts every method, and must not count.
        if resource is not request.match_info.route.resource:
            allowed |= (await resource.resolve(request))[1]
    return allowed
