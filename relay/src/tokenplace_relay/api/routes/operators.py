"""The routes of operators: changes to a running relay, with the operator token."""

from aiohttp import web

from tokenplace_relay.api import errors, validation
from tokenplace_relay.api.answers import unregistered
from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.body import small_body
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.state.errors import StateError


def routes() -> list[web.RouteDef]:
    """The routes of this module."""
    return [web.post("/api/v1/relay/unregister", expel)]


@auth.for_operators
async def expel(request: web.Request) -> web.StreamResponse:
    """POST /api/v1/relay/unregister: remove a node and cancel its requests."""
    context = of(request)
    key = validation.leaving_key(await small_body(request))
    try:
        removed = await context.state.expel(key)
    except StateError as error:
        raise errors.answer(error) from None
    return unregistered(key, removed=removed)
