"""Bodies of requests: read within bounds and decoded from JSON."""

from aiohttp import web

from tokenplace_relay.api import validation
from tokenplace_relay.api.app_context import of, route_of
from tokenplace_relay.protocol.nesting import is_sparse
from tokenplace_relay.server.body import decode_object, read_body
from tokenplace_relay.server.response import ApiError, JsonObject


async def small_body(request: web.BaseRequest) -> JsonObject:
    """The JSON object of a call without an envelope; raises ApiError (see read_body)."""
    context = of(request)
    limit, seconds = context.config.max_body_bytes, context.config.body_timeout
    return decode_object(await read_body(request, limit, seconds, context.reading))


async def envelope_body(request: web.BaseRequest) -> tuple[JsonObject, int]:
    """The JSON object of a call with an envelope, and its size in bytes.

    On the relay's routes it must be flat. The facade's bodies nest as those of OpenAI do; there
    the bytes outside of texts are bounded. Raises ApiError (see read_body).
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
