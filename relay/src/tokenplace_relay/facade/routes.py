"""OpenAI's routes: models, completions, and the key for callers that encrypt to the relay."""

import contextlib
import secrets
import time
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from tokenplace_relay.api.app_context import Handler, of
from tokenplace_relay.api.body import envelope_body
from tokenplace_relay.api.middleware.auth import for_operators
from tokenplace_relay.facade import completions
from tokenplace_relay.facade.completions import Completion, failure
from tokenplace_relay.facade.facade import FACADE, Facade
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.envelope import EnvelopeError, Sealed
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.state.selection import DEFAULT_MODEL, resolve_model

HEADERS: Final = {
    "X-Tokenplace-API-V1-Provider": "DistributedApiV1ComputeProvider",
    "X-Tokenplace-API-V1-Resolved-Provider-Path": "distributed",
    "X-Tokenplace-API-V1-Execution-Backend-Path": "distributed_relay_e2ee",
    "X-Tokenplace-API-V1-Stream-Mode": "non-streaming",
}
"""Path of an answer in token.place; this relay has only one."""
_YEAR: Final = 365 * 24 * 3600


def routes() -> list[web.RouteDef]:
    """The routes of this module, under both of their prefixes."""
    return [
        route
        for base in ("/api/v1", "/v1")
        for route in (
            web.get(f"{base}/models", models),
            web.get(f"{base}/models/{{model}}", model),
            web.get(f"{base}/public-key", public_key),
            web.post(f"{base}/public-key/rotate", rotate),
            web.post(f"{base}/chat/completions", chat_completions),
            web.post(f"{base}/completions", text_completions),
        )
    ]


def when_on(handler: Handler) -> Handler:
    """Refuse calls while the facade is turned off."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not of(request).config.facade:
            text = "This relay carries encrypted requests only; its facade is turned off"
            raise failure(501, text, "facade_disabled", "not_implemented_error")
        return await handler(request)

    return guarded


# Not behind `when_on`: the chat page reads this list, also while the facade is turned off.
async def models(_request: web.Request) -> web.Response:
    """GET models: the one model that API v1 has."""
    return json_response({"object": "list", "data": [_model_card()]})


async def model(request: web.Request) -> web.Response:
    """GET models/{id}: by its name or an alias."""
    if resolve_model(request.match_info["model"]) != DEFAULT_MODEL:
        raise failure(404, "Model not found", "model_not_found", "invalid_request_error", "model")
    return json_response(_model_card())


@when_on
async def public_key(request: web.Request) -> web.StreamResponse:
    """GET public-key: the key for `encrypted` requests; new at each start of the relay."""
    identity = await request.app[FACADE].public_identity()
    return json_response({"public_key": identity.public})


@for_operators
@when_on
async def rotate(request: web.Request) -> web.StreamResponse:
    """POST public-key/rotate: replace the key pair; for operators."""
    identity = await request.app[FACADE].rotate()
    return json_response({"public_key": identity.public})


@when_on
async def chat_completions(request: web.Request) -> web.StreamResponse:
    """POST chat/completions: plaintext, or encrypted to the relay's own key."""
    body, _ = await envelope_body(request)
    facade = request.app[FACADE]
    if not body.get("encrypted"):
        return await _answered(facade, completions.chat(body), completions.chat_answer)
    client = await _client_key(facade, body, of(request).config.max_key_length)
    completion = completions.chat({**body, "messages": await _opened(facade, body.get("messages"))})
    plain = await _complete(facade, completion, completions.chat_answer)
    return _with_headers({"encrypted": True, "data": await _sealed(facade, plain, client)})


@when_on
async def text_completions(request: web.Request) -> web.StreamResponse:
    """POST completions: one prompt instead of messages."""
    body, _ = await envelope_body(request)
    completion = completions.text(body)
    return await _answered(request.app[FACADE], completion, completions.text_answer)


Shape = Callable[[Completion, JsonObject, str, int], JsonObject]


async def _answered(facade: Facade, completion: Completion, shape: Shape) -> web.Response:
    return _with_headers(await _complete(facade, completion, shape))


async def _complete(facade: Facade, completion: Completion, shape: Shape) -> JsonObject:
    answer = await facade.ask(completion)
    return shape(completion, answer, secrets.token_hex(12), int(time.time()))


def _with_headers(body: JsonObject) -> web.Response:
    response = json_response(body)
    response.headers.update(HEADERS)
    return response


async def _opened(facade: Facade, given: object) -> object:
    """Decrypt the messages that a caller encrypted to the relay; raises ApiError."""
    names = ("ciphertext", "cipherkey", "iv")
    parts = [given.get(name) for name in names] if isinstance(given, dict) else []
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) != len(names):
        raise _not_encrypted("messages must have ciphertext, cipherkey and iv")
    identity = await facade.public_identity()
    try:
        return await facade.open(identity, Sealed(*texts), list[object])
    except EnvelopeError:
        raise _not_encrypted("messages cannot be decrypted with this relay's key") from None


async def _client_key(facade: Facade, body: JsonObject, limit: int) -> str:
    """The key that the answer is encrypted to; checked before a node works for the caller."""
    client = body.get("client_public_key")
    if isinstance(client, str) and len(client) <= limit:
        with contextlib.suppress(EnvelopeError):
            await facade.keys.run(partial(envelope.public_key, client))
            return client
    raise _useless_key()


async def _sealed(facade: Facade, plain: JsonObject, client: str) -> JsonObject:
    try:
        # JSEncrypt, which callers in browsers use, decrypts PKCS #1 v1.5 only.
        sealed = await facade.keys.run(partial(envelope.seal, plain, client, "pkcs1v15"))
    except EnvelopeError:
        raise _useless_key() from None
    parts = {"ciphertext": sealed.ciphertext, "cipherkey": sealed.cipherkey, "iv": sealed.iv}
    return {"encrypted": True, **parts}


def _useless_key() -> ApiError:
    rule = "client_public_key must be the base64 of the PEM text of an RSA key of 2048 bits or more"
    return _not_encrypted(rule)


def _not_encrypted(message: str) -> ApiError:
    return failure(400, message, "encryption_error", "encryption_error")


def _model_card() -> JsonObject:
    # token.place computes this time from the name, so that it is the same at each start.
    created = 1_700_000_000 + zlib.crc32(DEFAULT_MODEL.encode()) % _YEAR
    permission = {
        "id": f"modelperm-{DEFAULT_MODEL}",
        "object": "model_permission",
        "created": created,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": False,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": DEFAULT_MODEL,
        "object": "model",
        "created": created,
        "owned_by": "Qwen",
        "permission": [permission],
        "root": DEFAULT_MODEL,
        "parent": None,
    }
