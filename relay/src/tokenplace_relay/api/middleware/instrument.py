"""What happens around every request: it gets an id, an answer in JSON, a log line and a count.

Each route is wrapped once, when it is added. A middleware of aiohttp would look up for every
request what is the same for all requests of a route.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from tokenplace_relay.api.app_context import (
    X_REQUEST_ID,
    Call,
    Context,
    Handler,
    Place,
    attach,
    finish_head,
)
from tokenplace_relay.api.middleware import cors
from tokenplace_relay.api.middleware.rate_limiting import limited
from tokenplace_relay.api.routes import fallback
from tokenplace_relay.server.response import ApiError, weight
from tokenplace_relay.telemetry.logs import REQUEST_ID, fingerprint, get

log = get("tokenplace.relay.http")

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATTERN: Final = re.compile(r":[^{}]*}")
_QUIET: Final = frozenset({"/livez", "/healthz", "/metrics"})
_LEFT: Final = 499
"""What proxies log for a call whose peer left before its answer."""
_SUBMIT: Final = "/api/v1/relay/requests"


def observed(
    one: web.RouteDef, context: Context, strikes: Callable[[Handler], Handler]
) -> web.RouteDef:
    """The same route, with everything that happens around its requests."""
    route = "" if one.path == fallback.REST else _PATTERN.sub("}", one.path)
    place = Place(context, route, cors.is_open(route), log.bind())
    handler = strikes(one.handler)
    return web.RouteDef(one.method, one.path, _around(handler, place), one.kwargs)


def _around(handler: Handler, place: Place) -> Handler:
    is_limited = place.context.quota.counts(place.route)
    unsent = place.context.unsent

    async def observe(request: web.Request) -> web.StreamResponse:
        """Give the request an id, turn every failure into JSON, log and count the outcome."""
        started = time.perf_counter()
        call = attach(request, place, _name(request.headers.get(X_REQUEST_ID, "")))
        try:
            response = await (limited(request, handler) if is_limited else handler(request))
            if not response.prepared and (size := weight(response)) > unsent.small:
                unsent.check(size)
                unsent.fresh += size
        except (ConnectionError, asyncio.CancelledError):
            # Its peer left: nobody is told of it, but operators are.
            _log(request, call, _LEFT, time.perf_counter() - started)
            raise
        except Exception as error:  # noqa: BLE001 (nothing of it may reach a stranger)
            response = _told(error)
        if not response.prepared:
            finish_head(request, response)
        _log(request, call, response.status, time.perf_counter() - started)
        return response

    return observe


def _name(given: str) -> str:
    """The id of a request: the peer's own, or a new one, which need not be hard to guess."""
    if given and _REQUEST_ID.fullmatch(given):
        # One that a peer chose could be anything, a secret too.
        REQUEST_ID.set(fingerprint(given))
        return given
    name = f"{random.getrandbits(64):016x}"
    REQUEST_ID.set(name)
    return name


def _told(error: Exception) -> web.Response:
    """What a peer is told of a failure."""
    if isinstance(error, ApiError):
        return error.response()
    if isinstance(error, web.HTTPException):
        return _as_json(error)
    # Not the exception's own text: it may quote what a stranger sent.
    log.error("handler failed", error=type(error).__name__, where=_place(error))
    return ApiError(500, "Internal server error").response()


def _as_json(error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals, such as 404 and 405, in our shape."""
    answer = ApiError(error.status, error.reason).response()
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    return answer


def _place(error: BaseException) -> str:
    """File and line of a failure: enough to find it, and nothing that a stranger sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "unknown"


def _log(request: web.Request, call: Call, status: int, seconds: float) -> None:
    place, method = call.place, request.method
    context, route = place.context, place.route or "other"
    if status == 429 and route == _SUBMIT:
        context.state.counters.add(context.state.counters.outcomes, "rate_limited")
    context.metrics.observe(method, route, status, seconds)
    if route not in _QUIET:
        place.log.info(
            "http.request",
            http_method=method if method.isalpha() else "other",
            http_route=route,
            http_status=status,
            duration_ms=int(seconds * 100_000) / 100,
            **call.facts,
        )
