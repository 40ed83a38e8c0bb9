"""Routes of token.place that this relay does not serve; each error names the replacement."""

from typing import Final

from aiohttp import web

from tokenplace_relay.api.app_context import Handler
from tokenplace_relay.server.response import ApiError

# /unregister is not in this list: nodes fall back to it after a 404, so nodes.py serves it.
_GONE: Final = (
    ("GET", "/next_server"), ("POST", "/sink"), ("POST", "/faucet"), ("POST", "/source"),
    ("POST", "/retrieve"), ("POST", "/stream/source"), ("POST", "/stream/retrieve"),
)  # fmt: skip
_DISTRIBUTED: Final = ("/relay/api/v1/chat/completions", "/relay/api/v1/source")


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        *(web.route(method, path, _gone(path)) for method, path in _GONE),
        *(web.post(path, _distributed) for path in _DISTRIBUTED),
        *(web.post(f"{root}/images/generations", _images) for root in ("/api/v1", "/v1")),
        *(web.route("*", rf"{root}/{{path:[\s\S]*}}", _version_2) for root in ("/api/v2", "/v2")),
    ]


def _gone(path: str) -> Handler:
    async def gone(_request: web.Request) -> web.StreamResponse:
        text = f"Legacy relay endpoint '{path}' is deprecated. Use API v1 relay E2EE routes."
        raise ApiError(410, text, "legacy_relay_endpoint_deprecated", extra={"deprecated": True})

    return gone


async def _distributed(_request: web.Request) -> web.StreamResponse:
    text = "The distributed API v1 relay is disabled. Use /api/v1/chat/completions."
    extra = {"type": "service_unavailable_error"}
    raise ApiError(503, text, "distributed_api_v1_relay_disabled", extra=extra)


async def _images(_request: web.Request) -> web.StreamResponse:
    text = "This relay does not generate images"
    raise ApiError(501, text, "not_implemented", extra={"type": "invalid_request_error"})


async def _version_2(_request: web.Request) -> web.StreamResponse:
    raise ApiError(404, "This relay supports API v1 only", "api_version_unsupported")
