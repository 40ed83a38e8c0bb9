"""What handlers work with, under typed keys of the application."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import hdrs, web
from multidict import istr
from structlog.typing import FilteringBoundLogger

from tokenplace_relay.api import validation
from tokenplace_relay.api.middleware import cors
from tokenplace_relay.protocol.nesting import is_sparse
from tokenplace_relay.rate_limit.policy import RatePolicy
from tokenplace_relay.server.body import ReceiveBudget, decode_object, read_body
from tokenplace_relay.server.direct import DirectTable
from tokenplace_relay.server.response import SERVER, ApiError, JsonObject
from tokenplace_relay.server.unsent import UnsentBytes
from tokenplace_relay.settings.config import Config
from tokenplace_relay.state.memory import Memory
from tokenplace_relay.state.waiters import Polls, Retrieves
from tokenplace_relay.telemetry.metrics import Metrics


@dataclass(slots=True)
class Context:
    """One relay: settings, state, held polls, metrics, and how far a drain has come."""

    config: Config
    state: Memory
    polls: Polls
    metrics: Metrics
    retrieves: Retrieves
    rates: RatePolicy
    draining: bool = False
    """Readiness is red; everything is still served."""
    refusing: bool = False
    """New registrations, selections and requests are refused, and held calls return."""
    reading: ReceiveBudget = field(init=False)
    unsent: UnsentBytes = field(init=False)

    def __post_init__(self) -> None:
        self.reading = ReceiveBudget(self.config.max_reading_bytes, self.config.max_body_bytes)
        self.unsent = UnsentBytes(self.config.max_unsent_bytes, self.config.max_body_bytes)

    def refuse_when_draining(self) -> None:
        """Raise for what a relay that goes away must not begin."""
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
    """The pattern of the router that the path fits, such as `/v1/models/{model}`; else ''."""
    is_open: bool
    """Whether scripts of other origins may call it."""
    log: FilteringBoundLogger
    """Where the lines of its requests go; bound once, where a lazy one is bound for each line."""


@dataclass(slots=True)
class Call:
    """One request, for all that handles it: where it arrived, and what it is called."""

    place: Place
    name: str
    facts: dict[str, object] = field(default_factory=dict)
    """What its line in the log says of it: counts, times, fingerprints."""


X_REQUEST_ID: Final = istr("X-Request-Id")
"""A header's name as it is looked for fastest."""
_CALL = web.RequestKey("call", Call)


def attach(request: web.BaseRequest, place: Place, name: str) -> Call:
    """Tell a request where it arrived, and what it is called."""
    call = request[_CALL] = Call(place, name)
    return call


def of(request: web.BaseRequest) -> Context:
    """The context of a request."""
    return request[_CALL].place.context


def route_of(request: web.BaseRequest) -> str:
    """The route of a request."""
    return request[_CALL].place.route


def note(request: web.BaseRequest, **facts: object) -> None:
    """Put facts into the line of a request: never content, keys, tokens or ids."""
    request[_CALL].facts.update(facts)


def finish_head(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add what every answer carries, errors too; before it is written."""
    call, headers = request[_CALL], response.headers
    headers[X_REQUEST_ID] = call.name
    headers[hdrs.SERVER] = SERVER
    if call.place.is_open or (not call.place.route and cors.is_open(request.path)):
        headers.update(cors.HEADERS)


async def small_body(request: web.BaseRequest) -> JsonObject:
    """The JSON object of a call without an envelope."""
    context = of(request)
    limit, seconds = context.config.max_body_bytes, context.config.body_timeout
    return decode_object(await read_body(request, limit, seconds, context.reading))


async def envelope_body(request: web.BaseRequest) -> tuple[JsonObject, int]:
    """The JSON object of a call with an envelope, and its size in bytes.

    On routes of the relay it is flat. The facade's calls nest as those of OpenAI do, a little.
    """
    context = of(request)
    limit, seconds = context.config.max_envelope_bytes, context.config.body_timeout
    raw = await read_body(request, limit, seconds, context.reading)
    if route_of(request).startswith(validation.ROUTES):
        return validation.flat(raw)
    most = context.config.max_body_bytes
    if not is_sparse(raw, most):
        raise ApiError(413, f"Request body has more than {most} bytes outside of its texts")
    return decode_object(raw), len(raw)
