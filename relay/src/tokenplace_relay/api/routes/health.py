"""Routes for Kubernetes and Prometheus: liveness, readiness, metrics."""

import hmac
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.node_list import NODE_LIST
from tokenplace_relay.api.state_collector import COLLECTOR
from tokenplace_relay.server.response import JsonObject, json_response
from tokenplace_relay.telemetry.logs import get
from tokenplace_relay.upstream import UPSTREAM, ProbeResult, Upstream

log = get("tokenplace.relay.ops")

NO_STORE: Final = {"Cache-Control": "no-store"}
FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
"""Headers that an ingress adds to each request; an outside caller cannot remove them."""


def routes() -> list[web.RouteDef]:
    """Return the routes of this module."""
    return [
        web.get("/livez", live),
        web.get("/healthz", health),
        web.get("/metrics", metrics),
    ]


async def live(_request: web.Request) -> web.Response:
    """GET /livez: the process is alive."""
    return json_response({"status": "alive"})


async def health(request: web.Request) -> web.Response:
    """GET /healthz: readiness; 503 in a drain, in a drill, and without a required upstream."""
    context, upstream = of(request), request.app[UPSTREAM]
    if context.draining:
        return _not_ready("draining", {"shutdown": True})
    if context.config.fault_unready:
        return _not_ready("degraded", {"fault": "unready"})
    if upstream.blocks_readiness:
        return _not_ready("degraded", _failure(upstream))
    if not (await context.state.health()).is_reachable:
        return _not_ready("degraded", {"state": "unreachable"})
    nodes = await request.app[NODE_LIST].entries()
    response = json_response(_health(request, upstream, nodes))
    response.headers.update(NO_STORE)
    return response


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text format; needs the bearer token, if one is configured."""
    context = of(request)
    if context.config.metrics_disabled or not _may_scrape(request, context.config.metrics_token):
        return web.Response(status=401, text="unauthorized", headers=NO_STORE)
    try:
        await request.app[COLLECTOR].refresh()
        body = generate_latest(context.metrics.registry)
    except Exception as error:  # noqa: BLE001 (a failing scrape must be visible)
        log.error("scrape failed", error=type(error).__name__)  # noqa: TRY400 (the text may quote a request)
        return web.Response(status=503, text="metrics unavailable", headers=NO_STORE)
    return web.Response(body=body, headers={**NO_STORE, "Content-Type": CONTENT_TYPE_LATEST})


def _health(request: web.Request, upstream: Upstream, nodes: list[JsonObject]) -> JsonObject:
    config, target = of(request).config, upstream.target
    body: JsonObject = {
        "status": "ok",
        "upstream": target.url if target else "",
        "upstreamHealthRequired": upstream.is_required,
        "relayOnly": target is None,
        "gpuHost": target.host if target else "",
        **{f"{name}UpstreamServers": urls for name, urls in upstream_lists(upstream).items()},
        "knownServers": len(nodes),
        "registeredServers": nodes,
    }
    if target is not None:
        body["upstreamHealth"] = upstream.as_json()
    if config.public_url:
        body["publicBaseUrl"] = config.public_url
    # token.place's promotion check refuses a relay that shows `details`, so they are absent as soon
    # as a node is registered.
    if not nodes:
        body["details"] = {"knownServers": "empty"}
    return body


def upstream_lists(upstream: Upstream) -> dict[str, list[str]]:
    """Return the base URLs of active, required and configured upstreams."""
    urls = [upstream.target.url] if upstream.target else []
    return {
        "active": urls if upstream.result.is_up else [],
        "required": urls if upstream.is_required else [],
        "configured": urls,
    }


def _failure(upstream: Upstream) -> JsonObject:
    """Return why a required upstream makes readiness fail."""
    if upstream.target is None:
        return {"upstream": "not configured"}
    if upstream.result is ProbeResult.DNS:
        return {"gpuHostResolution": "failed"}
    return {"upstream": str(upstream.result)}


def _not_ready(status: str, details: JsonObject) -> web.Response:
    response = json_response({"status": status, "details": details}, 503)
    response.headers.update({"Retry-After": "0", **NO_STORE})
    return response


def _may_scrape(request: web.Request, token: str | None) -> bool:
    """Whether the caller may read metrics.

    Without a token everyone may, except through an ingress. With an empty token no one may: an
    empty Secret is a mistake, and must not open the metrics.
    """
    if token is None:
        return not any(name in request.headers for name in FORWARDED)
    # A header may contain bytes that are not UTF-8, which a plain encode() refuses.
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return bool(token) and hmac.compare_digest(given, f"Bearer {token}".encode())
