"""The routes of compute nodes: register, poll, control, answer, unregister."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web

from tokenplace_relay import capabilities, wire
from tokenplace_relay.capabilities import Capabilities
from tokenplace_relay.client_routes import deadline, refused
from tokenplace_relay.context import Context, envelope_body, of, small_body
from tokenplace_relay.http import ApiError, JsonObject, json_response
from tokenplace_relay.logs import fingerprint, get
from tokenplace_relay.state import (
    Finished,
    Full,
    Request,
    UnknownNode,
    UnknownRequest,
    WrongProof,
)

log = get("tokenplace.relay.node")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes() -> list[web.RouteDef]:
    """What this module serves."""
    relay = "/api/v1/relay"
    return [
        web.post(f"{relay}/servers/register", register),
        web.post(f"{relay}/servers/poll", poll),
        web.post(f"{relay}/servers/control", control),
        web.post(f"{relay}/servers/unregister", unregister),
        web.post(f"{relay}/responses", respond),
    ]


def with_token(handler: Handler) -> Handler:
    """Ask for a registration token where tokens are configured."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        tokens = of(request).config.server_tokens
        given = request.headers.get("X-Relay-Server-Token", "").strip().encode()
        if tokens and not _is_one_of(given, tokens):
            raise ApiError(401, "Missing or invalid relay server token")
        return await handler(request)

    return guarded


@with_token
async def register(request: web.Request) -> web.StreamResponse:
    """POST servers/register: enter or renew; a new node learns its credential, once."""
    context = of(request)
    context.refuse_when_draining()
    body = await small_body(request)
    key = wire.node_key(body, context.config)
    able = _capabilities(body) or Capabilities()
    try:
        credential = context.state.register(key, able)
    except Full as full:
        raise refused(full) from None
    answer: JsonObject = {
        "next_ping_in_x_seconds": context.config.node_lease,
        "poll_wait_seconds": context.config.poll_wait,
        "relay_capabilities": {"encrypted_progress_v1": False},
    }
    if credential is not None:
        answer["control_credential"] = credential
        log.info("node registered", node=fingerprint(key))
    return json_response(answer)


@with_token
async def poll(request: web.Request) -> web.StreamResponse:
    """POST servers/poll: claim work, held until there is some or the time is over."""
    context = of(request)
    body = await small_body(request)
    key = wire.node_key(body, context.config)
    try:
        context.state.touch(key, _capabilities(body))
        work = await _next_work(context, key)
    except UnknownNode:
        raise ApiError(404, "Server with the specified public key not found") from None
    if work is None:
        return json_response(_idle(context))
    return await _hand_over(context, request, work)


@with_token
async def control(request: web.Request) -> web.StreamResponse:
    """POST servers/control: renew the lease of claimed work, or learn that it was taken back."""
    context = of(request)
    body = await small_body(request)
    if not body.get("server_public_key"):
        raise ApiError(400, "Invalid request data")
    key = wire.node_key(body, context.config)
    request_id = wire.required_text(body, "request_id", context.config)
    credential = wire.optional_text(body, "control_credential", context.config)
    acknowledge = body.get("acknowledge") is True or body.get("ack") is True
    try:
        outcome = context.state.control(key, request_id, credential, acknowledge=acknowledge)
    except WrongProof:
        raise _wrong_credential() from None
    hint = max(1.0, min(context.config.control_hint, 10.0))
    answer: JsonObject = {"status": outcome.status, "next_poll_seconds": hint}
    if outcome.remaining is not None:
        answer.update(deadline(outcome.remaining))
    return json_response(answer)


@with_token
async def respond(request: web.Request) -> web.StreamResponse:
    """POST responses: a node's answer; the first one wins."""
    context = of(request)
    body, size = await envelope_body(request)
    envelope = wire.response_envelope(body, context.config)
    request_id = wire.required_text(body, "request_id", context.config)
    credential = wire.optional_text(body, "control_credential", context.config)
    key = (envelope["client_public_key"], request_id)
    try:
        is_first = context.state.answer(key, envelope, size, credential)
    except UnknownRequest:
        raise _not_waiting("gone") from None
    except Finished as end:
        raise _not_waiting(str(end.status)) from None
    except WrongProof:
        raise _wrong_credential() from None
    except Full as full:
        raise refused(full) from None
    log.info("answer received", client=fingerprint(key[0]), first=is_first)
    if is_first:
        return json_response({"message": "Response received and queued for client"})
    return json_response({"message": "Response already queued for client"})


@with_token
async def unregister(request: web.Request) -> web.StreamResponse:
    """POST servers/unregister: leave; what was queued is cancelled."""
    context = of(request)
    body = await small_body(request)
    key = body.get("server_public_key")
    if not isinstance(key, str) or not key.strip():
        raise ApiError(400, "Invalid public key")
    credential = wire.optional_text(body, "control_credential", context.config)
    try:
        removed = context.state.unregister(key, credential)
    except WrongProof:
        raise _wrong_credential() from None
    context.polls.wake_node(key)
    log.info("node unregistered", node=fingerprint(key), removed=removed)
    return json_response({"message": "Server unregistered", "removed": removed})


def _is_one_of(given: bytes, tokens: tuple[str, ...]) -> bool:
    """Compare with every token, so that the time tells nothing."""
    found = False
    for one in tokens:
        found |= hmac.compare_digest(given, one.encode())
    return found


async def _next_work(context: Context, key: str) -> Request | None:
    """Claim at once or hold; None at the end of the hold, and at once in a drain."""
    config, state, polls = context.config, context.state, context.polls
    ends = state.now() + config.poll_wait
    while (work := state.claim(key)) is None:
        left = ends - state.now()
        if left <= 0 or context.refusing:
            return None
        if polls.held >= config.max_held_polls or polls.count(key) >= config.max_node_polls:
            raise ApiError(503, "Too many held polls", "too_many_polls", retry_after=5)
        node = state.touch(key)
        node.polls += 1
        try:
            await polls.wait(key, left)
        finally:
            node.polls -= 1
        state.touch(key)
    return work


async def _hand_over(context: Context, request: web.Request, work: Request) -> web.StreamResponse:
    """Write the work to its poller, or put it back when nobody is there to read it."""
    remaining = work.deadline - context.state.now()
    response = json_response(
        {
            **work.envelope,
            "e2ee_v1": True,
            # Real nodes sleep this long after their answer; absent means their whole lease.
            "next_ping_in_x_seconds": 0,
            **deadline(remaining),
        }
    )
    try:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError
        await response.prepare(request)
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        context.state.unclaim(work)
        log.info("poller gone, work queued again", node=fingerprint(work.node))
        raise
    waited = work.claimed_at - work.created
    log.info("work claimed", node=fingerprint(work.node), waited_ms=round(waited * 1000, 1))
    return response


def _idle(context: Context) -> JsonObject:
    # A node sleeps for a positive pause and takes it for its lease; in a drain that keeps it
    # from asking again at once, and its next poll goes to the successor.
    pause = 1 if context.refusing else 0
    return {
        "message": "No requests available",
        "next_ping_in_x_seconds": pause if context.config.poll_wait > 0 else 30,
        "poll_wait_seconds": context.config.poll_wait,
    }


def _capabilities(body: JsonObject) -> Capabilities | None:
    given = body.get("capabilities")
    return None if given is None else capabilities.parse(given)


def _wrong_credential() -> ApiError:
    return ApiError(403, "Missing or invalid relay server control credential")


def _not_waiting(status: str) -> ApiError:
    text = "Request is no longer waiting for a response"
    return ApiError(410, text, status, extra={"status": status})
