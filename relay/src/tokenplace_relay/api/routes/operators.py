"""What an operator may do to a running relay, with a token."""

from aiohttp import web

from tokenplace_relay.api import validation
from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.body import small_body
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.api.routes.nodes import unregistered


def routes() -> list[web.RouteDef]:
    """What this module serves."""
    return [web.post("/api/v1/relay/unregister", expel)]


@auth.for_operators
async def expel(request: web.Request) -> web.StreamResponse:
    """POST /api/v1/relay/unregister: take a node out, and cancel what it has to do."""
    context = of(request)
    key = validation.leaving_key(await small_body(request))
    return unregistered(key, removed=context.state.expel(key))
