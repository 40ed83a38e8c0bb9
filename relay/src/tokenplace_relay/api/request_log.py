"""Log facts of one request, and the headers that identify its answer."""

from typing import Final

from aiohttp import hdrs, web
from multidict import istr

from tokenplace_relay.api import cors
from tokenplace_relay.api.app_context import CALL
from tokenplace_relay.server.response import SERVER

X_REQUEST_ID: Final = istr("X-Request-Id")
"""An istr, because multidict finds those without hashing the name again."""


def note(request: web.BaseRequest, **facts: object) -> None:
    """Add facts to the log line of a request: never content, keys, tokens or ids."""
    request[CALL].facts.update(facts)


def finish_head(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add the headers that every answer carries, errors too; call it before the answer is sent."""
    call, headers = request[CALL], response.headers
    headers[X_REQUEST_ID] = call.name
    headers[hdrs.SERVER] = SERVER
    # A wrong method on an open path ends in the fallback route, which has no path of its own. A
    # script must be able to read that error too.
    if call.place.is_open or (not call.place.route and cors.is_open(request.path)):
        headers.update(cors.HEADERS)
