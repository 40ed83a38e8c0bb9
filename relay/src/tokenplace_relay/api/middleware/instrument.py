"""Wraps every handler: request id, JSON errors, rate limit, one log line, and metrics.

Each route is wrapped once, when it is added. An aiohttp middleware would look up for every request
what is the same for all requests of a route.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiohttp import web

from tokenplace_relay.api import cors, errors
from tokenplace_relay.api.app_context import Call, Context, Place, attach
from tokenplace_relay.api.middleware.fault_injection import FaultInjector
from tokenplace_relay.api.middleware.rate_limiting import limited
from tokenplace_relay.api.request_log import X_REQUEST_ID, finish_head
from tokenplace_relay.server.direct import DirectRoute
from tokenplace_relay.server.response import ApiError, body_size
from tokenplace_relay.state.errors import StateUnreachable
from tokenplace_relay.telemetry.logs import REQUEST_ID, fingerprint, get

log = get("tokenplace.relay.http")
R = TypeVar("R", bound=web.BaseRequest)
AnyHandler = Callable[[R], Awaitable[web.StreamResponse]]

# `.` does not match a line break, which a path may contain as %0A.
EVERY_PATH: Final = r"/{rest:[\s\S]*}"
"""The route of all unknown paths, which logs and metrics do not name."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
# aiohttp's paths may contain a regular expression, which a metric label should not show.
_PATTERN: Final = re.compile(r":[^{}]*}")
_QUIET: Final = frozenset({"/livez", "/healthz", "/metrics"})
_CLIENT_CLOSED_REQUEST: Final = 499
"""The status that nginx logs when the caller closes the connection before the response."""


def instrument(
    route: web.RouteDef, context: Context, injector: FaultInjector | None
) -> web.RouteDef:
    """Return the route with its handler wrapped."""
    wrapped = _wrap(route.handler, _place(route.path, context), injector)
    return web.RouteDef(route.method, route.path, wrapped, route.kwargs)


def instrument_direct(
    route: DirectRoute, context: Context, injector: FaultInjector | None
) -> DirectRoute:
    """Return the direct route with its handler wrapped."""
    wrapped = _wrap(route.handler, _place(route.path, context), injector)
    return DirectRoute(route.method, route.path, wrapped)


def _place(path: str, context: Context) -> Place:
    route = "" if path == EVERY_PATH else _PATTERN.sub("}", path)
    return Place(context, route, cors.is_open(route), log.bind())


def _wrap(handler: AnyHandler[R], place: Place, injector: FaultInjector | None) -> AnyHandler[R]:
    is_limited = place.context.rates.is_counted(place.route)
    unsent = place.context.unsent
    if injector is not None:
        handler = _with_faults(handler, injector)

    async def observe(request: R) -> web.StreamResponse:
        started = time.perf_counter()
        call = attach(request, place, _request_id(request.headers.get(X_REQUEST_ID, "")))
        try:
            response = await (limited(request, handler) if is_limited else handler(request))
            is_written = response.prepared
            # Counted before it is written: otherwise all answers of one loop turn would pass the
            # bound.
            if not is_written and (size := body_size(response)) > unsent.small:
                unsent.reserve(size)
        except (ConnectionError, asyncio.CancelledError):
            # The caller is gone, so only the log and the metrics get a status.
            _log(request, call, _CLIENT_CLOSED_REQUEST, time.perf_counter() - started)
            raise
        except Exception as error:  # noqa: BLE001 (no detail of an error may reach the caller)
            response, is_written = _error_response(error), False
        # A handler that sends its answer itself has finished the head already.
        if not is_written:
            finish_head(request, response)
        _log(request, call, response.status, time.perf_counter() - started)
        return response

    return observe


def _with_faults(handler: AnyHandler[R], injector: FaultInjector) -> AnyHandler[R]:
    async def faulty(request: R) -> web.StreamResponse:
        await injector.inject(request.path)
        return await handler(request)

    return faulty


def _request_id(given: str) -> str:
    """Return the caller's request id, or else a new one, which need not be hard to guess."""
    if given and _REQUEST_ID.fullmatch(given):
        # The log gets a fingerprint, because a caller may send a secret as its id.
        REQUEST_ID.set(fingerprint(given))
        return given
    name = f"{random.getrandbits(64):016x}"
    REQUEST_ID.set(name)
    return name


def _error_response(error: Exception) -> web.Response:
    if isinstance(error, ApiError):
        return error.response()
    if isinstance(error, StateUnreachable):
        return errors.answer(error).response()
    if isinstance(error, web.HTTPException):
        return _http_exception_response(error)
    # The exception's text is not logged, because it may quote the request.
    log.error("handler failed", error=type(error).__name__, where=_location(error))
    return ApiError(500, "Internal server error").response()


def _http_exception_response(error: web.HTTPException) -> web.Response:
    """Return aiohttp's own refusals, such as 404 and 405, as our JSON error."""
    response = ApiError(error.status, error.reason).response()
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _location(error: BaseException) -> str:
    """Return function and line of an error, which never contain request data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "unknown"


def _log(request: web.BaseRequest, call: Call, status: int, seconds: float) -> None:
    place, method = call.place, request.method
    context, route = place.context, place.route or "other"
    context.metrics.observe(method, route, status, seconds)
    # Probes and scrapes come every few seconds, and would fill the log.
    if route not in _QUIET:
        place.log.info(
            "http.request",
            # The method is free text of the caller, which the log must not quote.
            http_method=method if method.isalpha() else "other",
            http_route=route,
            http_status=status,
            duration_ms=int(seconds * 100_000) / 100,
            **call.facts,
        )
