"""What an operator may do to a running relay, with a token."""

from aiohttp import web

from tokenplace_relay import tokens, wire
from tokenplace_relay.context import of, small_body
from tokenplace_relay.node_routes import unregistered


def routes() -> list[web.RouteDef]:
    """What this module serves."""
    return [web.post("/api/v1/relay/unregister", expel)]


@tokens.for_operators
async def expel(request: web.Request) -> web.StreamResponse:
    """POST /api/v1/relay/unregister: take a node out, and cancel what it has to do."""
    context = of(request)
    key = wire.leaving_key(await small_body(request))
    return unregistered(key, removed=context.state.expel(key))
