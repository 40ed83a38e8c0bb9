"""Rate limits around a call: counted before it, uncounted when it was the caller's mistake."""

from typing import Final

from aiohttp import web

from tokenplace_relay.api.app_context import Handler, of, route_of
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.api.middleware.quota import Quota, told, too_often
from tokenplace_relay.rate_limit.limiter import Charge
from tokenplace_relay.server.response import ApiError

_CHARGED: Final = web.RequestKey("charged", list[Charge])


async def limited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a call, or raise ApiError 429 when its caller asks too often."""
    quota, route = of(request).quota, route_of(request)
    address = quota.address(request.remote, request.headers.getall("X-Forwarded-For", ()))
    if quota.is_for_nodes(route) and auth.registration_token(request) is not None:
        request[_CHARGED] = quota.of_node(route, address)
        _take(quota, request[_CHARGED])
        return await handler(request)
    charges = quota.of_client(route, address)
    _take(quota, charges)
    try:
        response = await handler(request)
    except (ApiError, web.HTTPException) as error:
        if quota.is_free(error.status):
            quota.limiter.give_back(charges)
        raise
    left = quota.limiter.left(charges)
    if left is not None and not response.prepared:
        response.headers.update(told(left))
    return response


def count_node(request: web.Request, identity: str) -> None:
    """Count a call by the node that makes it; raises ApiError 429, then nothing was counted."""
    quota = of(request).quota
    refusal = quota.limiter.take(quota.of_identity(route_of(request), identity))
    if refusal is not None:
        quota.limiter.give_back(request.get(_CHARGED, ()))
        raise too_often(refusal)


def _take(quota: Quota, charges: list[Charge]) -> None:
    refusal = quota.limiter.take(charges)
    if refusal is not None:
        raise too_often(refusal)
