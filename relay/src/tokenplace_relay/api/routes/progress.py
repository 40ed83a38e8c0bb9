"""POST progress: the newest encrypted progress of a claimed request."""

from typing import Final

import msgspec
from aiohttp import web

from tokenplace_relay.api import errors
from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.errors import Call
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.api.middleware.rate_limiting import count_node
from tokenplace_relay.api.validation import CLAIM
from tokenplace_relay.protocol.constants import PROTOCOL, VERSION
from tokenplace_relay.server.body import read_body
from tokenplace_relay.server.direct import DirectRoute
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.state.digests import digest, secret_digest
from tokenplace_relay.state.errors import StateError
from tokenplace_relay.telemetry.logs import fingerprint, get

log = get("tokenplace.relay.progress")

MAX_BYTES: Final = 16384
_NAMES: Final = ("server_public_key", "client_public_key", "request_id", "control_credential")
_SEALED: Final = ("ciphertext", "cipherkey", "iv")
_SHOWN: Final = ("client_public_key", "request_id", "protocol", "version", *_SEALED)
"""Fields that the client receives."""


def routes() -> list[DirectRoute]:
    """The routes of this module."""
    return [DirectRoute("POST", "/api/v1/relay/progress", progress)]


@auth.for_nodes
async def progress(request: web.BaseRequest) -> web.Response:
    """Keep the newest progress of claimed work until its client reads it or the work ends."""
    context = of(request)
    body = _checked(await _read(request))
    node, client, request_id, secret = (body[name] for name in _NAMES)
    credential = secret_digest(secret)
    shown = {name: body[name] for name in _SHOWN}
    size = sum(len(value) for value in shown.values() if isinstance(value, str))
    try:
        if await context.state.owns(node, request_id, credential):
            count_node(request, fingerprint(node))
        replaced = await context.state.progress(
            node, digest(client), request_id, credential=credential, progress=shown, size=size
        )
    except StateError as error:
        raise errors.answer(error, Call.PROGRESS) from None
    log.debug("progress", node=fingerprint(node), outcome="replaced" if replaced else "accepted")
    return json_response({"message": "Encrypted progress accepted"}, 202)


async def _read(request: web.BaseRequest) -> object:
    """The JSON of a small body; one that is too large is refused before it is parsed."""
    context = of(request)
    try:
        raw = await read_body(request, MAX_BYTES, context.config.body_timeout, context.reading)
        return msgspec.json.decode(raw)
    except ApiError as error:
        if error.status == 413:
            # The rest of the body is not read, so the connection cannot be used for another
            # request.
            raise ApiError(413, "Progress envelope too large", close=True) from None
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ApiError(400, "Invalid encrypted progress schema") from None


def _checked(body: object) -> JsonObject:
    names = {*_NAMES, "protocol", "version", *_SEALED}
    if not isinstance(body, dict) or body.keys() - CLAIM != names:
        raise ApiError(400, "Invalid encrypted progress schema")
    if not all(_is_text(body[name]) for name in _NAMES):
        raise ApiError(400, "Invalid encrypted progress schema")
    version = body["version"]
    # True equals 1 and is no version.
    if body["protocol"] != PROTOCOL or isinstance(version, bool) or version != VERSION:
        raise ApiError(400, "Invalid encrypted progress protocol")
    if not all(_is_text(body[name]) for name in _SEALED):
        raise ApiError(400, "Invalid encrypted progress envelope")
    return body


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
