"""Routes that describe this relay: release, health, compute nodes, and the directory."""

import time

from aiohttp import web

from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.node_list import NODE_LIST
from tokenplace_relay.api.routes.health import NO_STORE, upstream_lists
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.settings import release
from tokenplace_relay.upstream import UPSTREAM


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    community = "/api/v1/community"
    return [
        web.get("/api/v1/meta", meta),
        web.get("/api/v1/version", meta),
        web.get("/api/v1/health", health),
        web.get("/v1/health", health),
        web.get("/relay/diagnostics", diagnostics),
        web.get("/api/v1/relay/server-nodes", server_nodes),
        web.get("/api/v1/server-providers", nothing_listed),
        web.get(f"{community}/providers", nothing_listed),
        web.get(f"{community}/leaderboard", leaderboard),
        web.get(f"{community}/contributions/summary", contributions),
        web.post(f"{community}/contributions", contribute),
    ]


async def meta(request: web.Request) -> web.Response:
    """GET meta, version: the running release, with exactly the keys of token.place's check."""
    return _uncached(release.metadata(of(request).config, request.headers.get("Host", "")))


async def health(request: web.Request) -> web.Response:
    """GET /api/v1/health: the API is up; readiness is at /healthz."""
    service = of(request).config.service_name
    seconds = int(time.time())
    return json_response(
        {"status": "ok", "version": "v1", "service": service, "timestamp": seconds}
    )


async def diagnostics(request: web.Request) -> web.Response:
    """GET /relay/diagnostics: the compute nodes and their load; the chat page uses it."""
    nodes, upstream = await request.app[NODE_LIST].entries(), request.app[UPSTREAM]
    lists = {f"{name}_upstream_servers": urls for name, urls in upstream_lists(upstream).items()}
    return _uncached(
        {
            "relay_only": upstream.target is None,
            "upstream_health_required": upstream.is_required,
            **lists,
            # All nodes of this relay use API v1, so both lists of token.place's format are equal.
            "registered_compute_nodes": nodes,
            "total_registered_compute_nodes": len(nodes),
            "api_v1_registered_compute_nodes": nodes,
            "total_api_v1_registered_compute_nodes": len(nodes),
        }
    )


async def server_nodes(request: web.Request) -> web.Response:
    """GET server-nodes: the configured GPU upstream; registered compute nodes are not listed."""
    urls = upstream_lists(request.app[UPSTREAM])["configured"]
    return json_response(
        {
            "configured_servers": urls,
            "primary": urls[0] if urls else None,
            "secondary": None,
            "total": len(urls),
        }
    )


async def nothing_listed(_request: web.Request) -> web.Response:
    """GET server-providers, community/providers: empty, because this relay knows no others."""
    return json_response({"object": "list", "data": []})


async def leaderboard(_request: web.Request) -> web.Response:
    """GET community/leaderboard: empty, because this relay collects no ratings."""
    return json_response({"object": "list", "data": []})


async def contributions(_request: web.Request) -> web.Response:
    """GET community/contributions/summary: all zero, because this relay stores none."""
    return json_response(
        {
            "object": "community.contribution_summary",
            "total_submissions": 0,
            "regions": [],
            "capability_counts": {},
            "last_submission_at": None,
        }
    )


async def contribute(_request: web.Request) -> web.Response:
    """POST community/contributions: refused, because this relay stores none."""
    text = "This relay stores no contributions; a compute node joins by registering"
    raise ApiError(501, text, "contributions_not_kept")


def _uncached(body: JsonObject) -> web.Response:
    response = json_response(body)
    response.headers.update(NO_STORE)
    return response
