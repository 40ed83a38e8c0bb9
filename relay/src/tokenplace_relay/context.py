"""What handlers work with, under typed keys of the application."""

from dataclasses import dataclass, field

from aiohttp import web

from tokenplace_relay.config import Config
from tokenplace_relay.http import ApiError, JsonObject, Reading, read_object
from tokenplace_relay.memory import Memory
from tokenplace_relay.metrics import Metrics
from tokenplace_relay.polls import Polls, Retrieves
from tokenplace_relay.quota import Quota


@dataclass(slots=True)
class Context:
    """One relay: settings, state, held polls, metrics, and how far a drain has come."""

    config: Config
    state: Memory
    polls: Polls
    metrics: Metrics
    retrieves: Retrieves
    quota: Quota
    draining: bool = False
    """Readiness is red; everything is still served."""
    refusing: bool = False
    """New registrations, selections and requests are refused, and held calls return."""
    reading: Reading = field(init=False)

    def __post_init__(self) -> None:
        self.reading = Reading(self.config.max_reading_bytes, self.config.max_body_bytes)

    def refuse_when_draining(self) -> None:
        """Raise for what a relay that goes away must not begin."""
        if self.refusing:
            text = "This relay is draining; its successor takes over"
            raise ApiError(503, text, "draining", retry_after=1)


CONTEXT = web.AppKey("context", Context)


_OF_REQUEST = web.RequestKey("context", Context)
_ROUTE = web.RequestKey("route", str)


def attach(request: web.Request) -> Context:
    """Look up once what every part of a request's handling asks for: its context and its route."""
    resource = request.match_info.route.resource
    request[_ROUTE] = resource.canonical if resource is not None else ""
    context = request[_OF_REQUEST] = request.app[CONTEXT]
    return context


def of(request: web.Request) -> Context:
    """The context of a request."""
    return request[_OF_REQUEST]


def route_of(request: web.Request) -> str:
    """The pattern of the router that a path fits, such as `/v1/models/{model}`; else ''."""
    return request[_ROUTE]


async def small_body(request: web.Request) -> JsonObject:
    """The JSON object of a call without an envelope."""
    context = of(request)
    limit, seconds = context.config.max_body_bytes, context.config.body_timeout
    return (await read_object(request, limit, seconds, context.reading))[0]


async def envelope_body(request: web.Request) -> tuple[JsonObject, int]:
    """The JSON object of a call with an envelope, and its size in bytes."""
    context = of(request)
    limit, seconds = context.config.max_envelope_bytes, context.config.body_timeout
    return await read_object(request, limit, seconds, context.reading)
