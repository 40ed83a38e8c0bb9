"""Checks the tokens of compute nodes and operators, in constant time."""

import hmac
from collections.abc import Awaitable, Iterable

from aiohttp import web

from tokenplace_relay.api.app_context import Handler, of
from tokenplace_relay.server.direct import DirectHandler
from tokenplace_relay.server.response import ApiError
from tokenplace_relay.state.digests import digest

_NODE = "X-Relay-Server-Token"
_OPERATOR = "X-Token-Place-Operator"


def registration_token(request: web.BaseRequest) -> bytes | None:
    """Return the digest of a valid token, b'' if this relay requires none, or else None."""
    tokens = of(request).config.server_tokens
    if not tokens:
        return b""
    # Digests have one length, so a comparison does not reveal how long the token is.
    token = digest(request.headers.get(_NODE, "").strip())
    return token if _is_one_of(token, tokens) else None


def for_nodes(handler: DirectHandler) -> DirectHandler:
    """Require a registration token, if this relay has any configured."""

    def guarded(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        if registration_token(request) is None:
            raise ApiError(401, "Missing or invalid relay server token")
        return handler(request)

    return guarded


def for_operators(handler: Handler) -> Handler:
    """Require the operator's token; without a configured one, all calls are refused."""

    def guarded(request: web.Request) -> Awaitable[web.StreamResponse]:
        token = of(request).config.operator_token
        # This is no mistake of the caller, so the status is 503 as in token.place relay.py, not
        # 401.
        if not token:
            text = "No operator token is configured on this relay"
            raise ApiError(503, text, "operator_auth_not_configured")
        if not _is_one_of(digest(_operator_token(request)), (token,)):
            raise ApiError(401, "Missing or invalid operator token", "operator_token_invalid")
        return handler(request)

    return guarded


def _operator_token(request: web.BaseRequest) -> str:
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    own = request.headers.get(_OPERATOR, "").strip()
    return own or (bearer.strip() if scheme.lower() == "bearer" else "")


def _is_one_of(given: bytes, tokens: Iterable[str]) -> bool:
    """Compare with every token, so that the duration does not depend on the match."""
    is_match = False
    for token in tokens:
        is_match |= hmac.compare_digest(given, digest(token))
    return is_match
