"""The routes of operators: liveness, readiness, metrics."""

import hmac
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.node_list import NODE_LIST
from tokenplace_relay.server.response import JsonObject, json_response
from tokenplace_relay.telemetry.logs import get
from tokenplace_relay.telemetry.state_collector import COLLECTOR
from tokenplace_relay.upstream import UPSTREAM, Upstream, Verdict

log = get("tokenplace.relay.ops")

NO_STORE: Final = {"Cache-Control": "no-store"}
FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
"""What an ingress adds to each request, and nobody outside can take away again."""


def routes() -> list[web.RouteDef]:
    """What this module serves."""
    return [
        web.get("/livez", live),
        web.get("/healthz", health),
        web.get("/metrics", metrics),
    ]


async def live(_request: web.Request) -> web.Response:
    """GET /livez: the process answers."""
    return json_response({"status": "alive"})


async def health(request: web.Request) -> web.Response:
    """GET /healthz: readiness; red in a drain, in a drill, and without a required upstream."""
    context, upstream = of(request), request.app[UPSTREAM]
    if context.draining:
        return _red("draining", {"shutdown": True})
    if context.config.fault_unready:
        return _red("degraded", {"fault": "unready"})
    if upstream.blocks_readiness:
        return _red("degraded", _failure(upstream))
    if not (await context.state.health()).is_reachable:
        return _red("degraded", {"state": "unreachable"})
    nodes = await request.app[NODE_LIST].entries()
    answer = json_response(_health(request, upstream, nodes))
    answer.headers.update(NO_STORE)
    return answer


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text, behind a bearer token where one is set."""
    context = of(request)
    if context.config.metrics_disabled or not _may_scrape(request, context.config.metrics_token):
        return web.Response(status=401, text="unauthorized", headers=NO_STORE)
    try:
        await request.app[COLLECTOR].refresh()
        body = generate_latest(context.metrics.registry)
    except Exception as error:  # noqa: BLE001 (a scrape that fails must not look like health)
        log.error("scrape failed", error=type(error).__name__)  # noqa: TRY400 (no text of errors)
        return web.Response(status=503, text="metrics unavailable", headers=NO_STORE)
    return web.Response(body=body, headers={**NO_STORE, "Content-Type": CONTENT_TYPE_LATEST})


def _health(request: web.Request, upstream: Upstream, nodes: list[JsonObject]) -> JsonObject:
    config, where = of(request).config, upstream.target
    body: JsonObject = {
        "status": "ok",
        "upstream": where.url if where else "",
        "upstreamHealthRequired": upstream.is_required,
        "relayOnly": where is None,
        "gpuHost": where.host if where else "",
        **{f"{name}UpstreamServers": urls for name, urls in upstream_lists(upstream).items()},
        "knownServers": len(nodes),
        "registeredServers": nodes,
    }
    if where is not None:
        body["upstreamHealth"] = upstream.as_json()
    if config.public_url:
        body["publicBaseUrl"] = config.public_url
    if not nodes:
        body["details"] = {"knownServers": "empty"}
    return body


def upstream_lists(upstream: Upstream) -> dict[str, list[str]]:
    """Base URLs of upstreams that answer, that readiness asks for, and that are configured."""
    urls = [upstream.target.url] if upstream.target else []
    return {
        "active": urls if upstream.verdict.is_up else [],
        "required": urls if upstream.is_required else [],
        "configured": urls,
    }


def _failure(upstream: Upstream) -> JsonObject:
    """Why a required upstream makes readiness red."""
    if upstream.target is None:
        return {"upstream": "not configured"}
    if upstream.verdict is Verdict.DNS:
        return {"gpuHostResolution": "failed"}
    return {"upstream": str(upstream.verdict)}


def _red(status: str, details: JsonObject) -> web.Response:
    answer = json_response({"status": status, "details": details}, 503)
    answer.headers.update({"Retry-After": "0", **NO_STORE})
    return answer


def _may_scrape(request: web.Request, token: str | None) -> bool:
    """Without a token open, but not to the world behind an ingress.

    Closed with an empty token, which nobody can have meant as open.
    """
    if token is None:
        return not any(name in request.headers for name in FORWARDED)
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return bool(token) and hmac.compare_digest(given, f"Bearer {token}".encode())
