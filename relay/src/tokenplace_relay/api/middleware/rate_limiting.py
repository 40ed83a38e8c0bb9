"""Applies the rate policy to a call: refuses it with 429, or reports what remains."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from aiohttp import web

from tokenplace_relay.api.app_context import of, route_of
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.rate_limit.limiter import Charge, Refusal, Remaining
from tokenplace_relay.rate_limit.policy import RatePolicy
from tokenplace_relay.server.response import ApiError

R = TypeVar("R", bound=web.BaseRequest)
_CHARGED: Final = web.RequestKey("charged", list[Charge])


async def limited(
    request: R, handler: Callable[[R], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Run a handler, or raise ApiError 429 if its caller exceeds a rate."""
    policy, route = of(request).rates, route_of(request)
    address = policy.client_address(request.remote, request.headers.getall("X-Forwarded-For", ()))
    # Nodes call far more often than clients, so a valid token leads to limits of their own.
    if policy.is_for_nodes(route) and auth.registration_token(request) is not None:
        request[_CHARGED] = charges = policy.node_address_charges(route, address)
        _charge(policy, charges)
        return await handler(request)
    charges = policy.client_charges(route, address)
    _charge(policy, charges)
    try:
        response = await handler(request)
    except (ApiError, web.HTTPException) as error:
        # A caller's mistakes do not count, but guesses at tokens (401, 403) do.
        if policy.is_refunded(error.status):
            policy.limiter.give_back(charges)
        raise
    remaining = policy.limiter.remaining(charges)
    if remaining is not None and not response.prepared:
        response.headers.update(rate_headers(remaining))
    return response


def count_node(request: web.BaseRequest, identity: str) -> None:
    """Count a call per node; raises ApiError 429 and then leaves no trace of the call."""
    policy = of(request).rates
    refusal = policy.limiter.take(policy.node_charges(route_of(request), identity))
    if refusal is not None:
        policy.limiter.give_back(request.get(_CHARGED, ()))
        raise rate_limit_error(refusal)


def rate_headers(remaining: Remaining) -> dict[str, str]:
    """Return the RateLimit headers of a successful call (IETF draft-ietf-httpapi-ratelimit)."""
    rate = remaining.rate
    return {
        "RateLimit-Policy": f'"client";q={rate.amount};w={rate.seconds}',
        "RateLimit": f'"client";r={remaining.events};t={remaining.seconds}',
    }


def rate_limit_error(refusal: Refusal) -> ApiError:
    """Return the 429 error for a refused call."""
    seconds = refusal.retry_after
    text = f"Rate limit exceeded: {refusal.rate.text}. Try again in {seconds} seconds."
    extra = {"type": "rate_limit_error", "param": None}
    return ApiError(429, text, "rate_limit_exceeded", retry_after=seconds, extra=extra)


def _charge(policy: RatePolicy, charges: Sequence[Charge]) -> None:
    refusal = policy.limiter.take(charges)
    if refusal is not None:
        raise rate_limit_error(refusal)
