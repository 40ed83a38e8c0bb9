"""The relay that a request arrived at, and the request's place in it, under typed keys."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from tokenplace_relay.rate_limit.policy import RatePolicy
from tokenplace_relay.server.body import ReceiveBudget
from tokenplace_relay.server.direct import DirectTable
from tokenplace_relay.server.response import ApiError
from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.interface import State
from tokenplace_relay.telemetry.metrics import Metrics


@dataclass(slots=True)
class Context:
    """One relay: settings, state, metrics, rates, and the progress of a drain."""

    config: Config
    state: State
    metrics: Metrics
    rates: RatePolicy
    draining: bool = False
    """Readiness is red; everything is still served."""
    refusing: bool = False
    """New registrations, selections and requests are refused, and held calls return."""
    undoing: set[asyncio.Task[None]] = field(default_factory=set)
    """Undos of failed deliveries that still run."""
    reading: ReceiveBudget = field(init=False)
    unsent: UnsentBytes = field(init=False)

    def __post_init__(self) -> None:
        self.reading = ReceiveBudget(self.config.max_reading_bytes, self.config.max_body_bytes)
        self.unsent = UnsentBytes(self.config.max_unsent_bytes, self.config.max_body_bytes)

    def refuse_when_draining(self) -> None:
        """Raise ApiError 503 for a call that would begin new work while the relay drains."""
        if self.refusing:
            text = "This relay is draining; its successor takes over"
            raise ApiError(503, text, "draining", retry_after=1)


CONTEXT = web.AppKey("context", Context)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
DIRECT: Final = web.AppKey("direct", DirectTable)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the relay a request arrives; the same for all requests of a route."""

    context: Context
    route: str
    """The router's pattern for the path, such as `/v1/models/{model}`; '' for unknown paths."""
    is_open: bool
    """Whether scripts of other origins may call it (CORS)."""
    log: FilteringBoundLogger
    """Logger of this route; bound once, because a lazy logger binds again for each line."""


@dataclass(slots=True)
class Call:
    """One request: its place, its id, and the facts for its log line."""

    place: Place
    name: str
    facts: dict[str, object] = field(default_factory=dict)
    """Counts, times and fingerprints that its log line shows."""


CALL: Final = web.RequestKey("call", Call)
"""Where a request has its place, id and log facts."""


def attach(request: web.BaseRequest, place: Place, name: str) -> Call:
    """Store the place and the id of a request with it."""
    call = request[CALL] = Call(place, name)
    return call


def of(request: web.BaseRequest) -> Context:
    """The context of a request."""
    return request[CALL].place.context


def route_of(request: web.BaseRequest) -> str:
    """The route of a request."""
    return request[CALL].place.route
