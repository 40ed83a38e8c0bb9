"""Parts of answers that several routes share."""

from aiohttp import web

from tokenplace_relay.server.response import JsonObject, json_response
from tokenplace_relay.telemetry.logs import fingerprint, get

log = get("tokenplace.relay.node")


def deadline(remaining: float) -> JsonObject:
    """The two names under which peers read the seconds until a deadline."""
    return {"request_deadline_remaining_seconds": remaining, "request_ttl_seconds": remaining}


def unregistered(key: str, *, removed: bool) -> web.Response:
    """The answer to the removal of a node."""
    log.info("node unregistered", node=fingerprint(key), removed=removed)
    return json_response({"message": "Server unregistered", "removed": removed})
