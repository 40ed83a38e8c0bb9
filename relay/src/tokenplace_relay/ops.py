"""The routes of operators: liveness, readiness, metrics, and a plain page at the root."""

import hmac

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from tokenplace_relay.context import of
from tokenplace_relay.http import JsonObject, json_response
from tokenplace_relay.logs import fingerprint

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>token.place relay</title>
<h1>token.place relay</h1>
<p>This server passes encrypted messages between clients and compute nodes. It cannot read them.</p>
<p><a href="/healthz">Health</a></p>
</html>
"""


def routes() -> list[web.RouteDef]:
    """What this module serves."""
    return [
        web.get("/", page),
        web.get("/livez", live),
        web.get("/healthz", health),
        web.get("/metrics", metrics),
    ]


async def live(_request: web.Request) -> web.Response:
    """GET /livez: the process answers."""
    return json_response({"status": "alive"})


async def health(request: web.Request) -> web.Response:
    """GET /healthz: readiness; red from the first moment of a drain."""
    context = of(request)
    if context.draining:
        answer = json_response({"status": "draining", "details": {"shutdown": True}}, 503)
        answer.headers.update({"Retry-After": "0", "Cache-Control": "no-store"})
        return answer
    config, nodes = context.config, context.state.nodes
    body: JsonObject = {
        "status": "ok",
        "upstream": config.upstream_url,
        "upstreamHealthRequired": False,
        "relayOnly": not config.upstream_url,
        "gpuHost": config.gpu_host,
        "knownServers": len(nodes),
        "registeredServers": [{"server": fingerprint(key)} for key in sorted(nodes)],
    }
    if config.public_url:
        body["publicBaseUrl"] = config.public_url
    if not nodes:
        body["details"] = {"knownServers": "empty"}
    answer = json_response(body)
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text, behind a bearer token where one is set."""
    context = of(request)
    headers = {"Cache-Control": "no-store"}
    if context.config.metrics_disabled or not _may_scrape(request, context.config.metrics_token):
        return web.Response(status=401, text="unauthorized", headers=headers)
    body = generate_latest(context.metrics.registry)
    headers["Content-Type"] = CONTENT_TYPE_LATEST
    return web.Response(body=body, headers=headers)


async def page(_request: web.Request) -> web.Response:
    """GET /: what this is, for a person who opens it."""
    headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store"}
    return web.Response(text=PAGE, content_type="text/html", headers=headers)


def _may_scrape(request: web.Request, token: str | None) -> bool:
    """Open without a token; closed with an empty one, which nobody can have meant as open."""
    if token is None:
        return True
    given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
    return bool(token) and hmac.compare_digest(given, f"Bearer {token}".encode())
