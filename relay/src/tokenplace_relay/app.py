"""The relay as an aiohttp application: routes, and what happens around every request."""

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from aiohttp import web

from tokenplace_relay import (
    about_routes,
    client_routes,
    cors,
    facade,
    facade_routes,
    faults,
    legacy_routes,
    node_routes,
    operator_routes,
    ops,
    page_routes,
    progress_routes,
    upstream,
)
from tokenplace_relay.collectors import StateCollector
from tokenplace_relay.config import Config
from tokenplace_relay.context import CONTEXT, Context, attach, of, route_of
from tokenplace_relay.http import SERVER, ApiError
from tokenplace_relay.limits import limited
from tokenplace_relay.logs import REQUEST_ID, fingerprint, get
from tokenplace_relay.memory import Memory
from tokenplace_relay.metrics import Metrics
from tokenplace_relay.polls import Polls, Retrieves
from tokenplace_relay.quota import Quota
from tokenplace_relay.roster import ROSTER, Roster

log = get("tokenplace.relay.http")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET: Final = frozenset({"/livez", "/healthz", "/metrics"})
_ID: Final = web.RequestKey("request_id", str)
_SUBMIT: Final = "/api/v1/relay/requests"
_MODULES: Final = (
    page_routes,
    ops,
    about_routes,
    facade_routes,
    client_routes,
    node_routes,
    progress_routes,
    operator_routes,
    legacy_routes,
)
"""Each says in `routes()` what it serves."""


def make_app(config: Config, clock: Callable[[], float] = time.monotonic) -> web.Application:
    """A relay of its own, sharing nothing with another in the same process."""
    polls, retrieves, metrics = Polls(), Retrieves(), Metrics(config)
    state = Memory(config, clock, polls.wake_one, retrieves.wake_all_of)
    app = web.Application(
        middlewares=[_observe, *faults.middlewares(config)],
        client_max_size=config.max_envelope_bytes,
    )
    app[CONTEXT] = Context(config, state, polls, metrics, retrieves, Quota(config, clock))
    app[facade.FACADE] = facade.make(app[CONTEXT])
    app[ROSTER] = Roster(config, state)
    app[upstream.UPSTREAM] = upstream.make(config)
    metrics.registry.register(StateCollector(state, polls, app[upstream.UPSTREAM]))
    for module in _MODULES:
        app.add_routes(module.routes())
    app.on_response_prepare.append(_finish_head)
    app.cleanup_ctx.extend([_housekeeping, upstream.probing, facade.serving])
    return app


@web.middleware
async def _observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id, turn every failure into JSON, log and count the outcome."""
    started = time.perf_counter()
    attach(request)
    request[_ID] = _name(request.headers.get("X-Request-Id", ""))
    response = await _answer(request, handler)
    _note(request, response.status, time.perf_counter() - started)
    return response


def _name(given: str) -> str:
    """The id of a request: the peer's own, or a new one, which need not be hard to guess."""
    if given and _REQUEST_ID.fullmatch(given):
        # One that a peer chose could be anything, a secret too.
        REQUEST_ID.set(fingerprint(given))
        return given
    name = f"{random.getrandbits(64):016x}"
    REQUEST_ID.set(name)
    return name


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.method == "OPTIONS":
            return await _options(request, handler)
        return await limited(request, handler)
    except ApiError as error:
        return error.response()
    except web.HTTPException as error:
        return _as_json(error)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 (nothing of it may reach a stranger)
        # Not the exception's own text: it may quote what a stranger sent.
        log.error("handler failed", error=type(error).__name__, where=_place(error))  # noqa: TRY400
        return ApiError(500, "Internal server error").response()


async def _options(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What may be sent to a path: to scripts in their words, to others as Allow."""
    if cors.is_open(request.path):
        return web.Response(status=204, headers=cors.PREFLIGHT)
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as refusal:
        allowed = ", ".join(sorted({*refusal.allowed_methods, "OPTIONS"}))
        return web.Response(headers={"Allow": allowed})


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


def _note(request: web.Request, status: int, seconds: float) -> None:
    context, route = of(request), route_of(request) or "other"
    if status == 429 and route == _SUBMIT:
        context.state.counters.add(context.state.counters.outcomes, "rate_limited")
    context.metrics.observe(request.method, route, status, seconds)
    if route not in _QUIET:
        log.info(
            "http.request",
            http_method=request.method if request.method.isalpha() else "other",
            http_route=route,
            http_status=status,
            duration_ms=round(seconds * 1000, 2),
        )


async def _finish_head(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries, errors too."""
    response.headers["X-Request-Id"] = request.get(_ID, "")
    response.headers["Server"] = SERVER
    if cors.is_open(request.path):
        response.headers.update(cors.HEADERS)


async def _housekeeping(app: web.Application) -> AsyncIterator[None]:
    """Expire and forget by timer, and measure how late the loop runs."""
    context = app[CONTEXT]

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(context.config.housekeeping_interval)
            late = loop.time() - before - context.config.housekeeping_interval
            context.metrics.loop_lag.set(max(0.0, late))
            context.state.housekeep()
            context.quota.limiter.forget()

    task = asyncio.create_task(tick(), name="housekeeping")
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
