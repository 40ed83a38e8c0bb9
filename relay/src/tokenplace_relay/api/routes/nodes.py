"""The routes of compute nodes: register, poll, control, answer, unregister."""

import random
from typing import Final

from aiohttp import web

from tokenplace_relay.api import errors, validation
from tokenplace_relay.api.app_context import Context, of
from tokenplace_relay.api.body import envelope_body, small_body
from tokenplace_relay.api.delivery import deliver
from tokenplace_relay.api.errors import Call
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.api.middleware.rate_limiting import count_node
from tokenplace_relay.api.request_log import note
from tokenplace_relay.api.routes.clients import deadline
from tokenplace_relay.server.direct import DirectRoute
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.state import capabilities
from tokenplace_relay.state.capabilities import Capabilities, InvalidCapabilities
from tokenplace_relay.state.model import (
    Proof,
    Request,
    StateError,
    digest,
)
from tokenplace_relay.telemetry.logs import fingerprint, get, short

log = get("tokenplace.relay.node")

_SPREAD: Final = 0.1
"""Part of a hold by which it is cut at random: polls that began together do not end together."""

_DRAIN_PAUSE: Final = 5
"""Seconds: about what a successor takes to start."""


def routes() -> list[DirectRoute]:
    """What this module serves."""
    relay = "/api/v1/relay"
    return [
        DirectRoute("POST", f"{relay}/servers/register", register),
        DirectRoute("POST", f"{relay}/servers/poll", poll),
        DirectRoute("POST", f"{relay}/servers/control", control),
        DirectRoute("POST", f"{relay}/servers/unregister", unregister),
        DirectRoute("POST", "/unregister", unregister),
        DirectRoute("POST", f"{relay}/responses", respond),
    ]


@auth.for_nodes
async def register(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/register: enter or renew; a new node learns its credential, once."""
    context = of(request)
    context.refuse_when_draining()
    body = await small_body(request)
    key = validation.node_key(body, context.config)
    _count_with_token(request, key)
    able = _capabilities(body) or Capabilities()
    try:
        credential = context.state.register(key, able, _proof(request, body, context))
    except StateError as error:
        raise errors.answer(error) from None
    answer: JsonObject = {
        "next_ping_in_x_seconds": context.config.node_lease,
        "poll_wait_seconds": float(context.config.poll_wait),
        "relay_capabilities": {"encrypted_progress_v1": True, "node_proof_v1": True},
    }
    if credential is None:
        return json_response(answer)
    answer["control_credential"] = credential
    log.info("node registered", node=fingerprint(key))
    # A node that never learnt its credential would take work and not do it.
    forget = context.state.unregister
    return await deliver(request, json_response(answer), lambda: _ignore(forget(key, credential)))


@auth.for_nodes
async def poll(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/poll: claim work, held until there is some or the time is over."""
    context = of(request)
    body = await small_body(request)
    key = validation.node_key(body, context.config)
    _count_with_token(request, key)
    try:
        context.state.touch(key, _capabilities(body), _proof(request, body, context))
        work = await _next_work(context, key)
    except StateError as error:
        raise errors.answer(error) from None
    if work is None:
        return json_response(_idle(context))
    return await _hand_over(context, request, work, _claim(body, work))


@auth.for_nodes
async def control(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/control: renew the lease of claimed work, or learn that it was taken back."""
    context = of(request)
    body = await small_body(request)
    if not body.get("server_public_key"):
        raise ApiError(400, "Invalid request data")
    key = validation.node_key(body, context.config)
    request_id = validation.required_text(body, "request_id", context.config)
    credential = validation.optional_text(body, "control_credential", context.config)
    acknowledge = body.get("acknowledge") is True or body.get("ack") is True
    if context.state.is_owner(key, request_id, credential):
        count_node(request, fingerprint(key))
    try:
        outcome = context.state.control(key, request_id, credential, acknowledge=acknowledge)
    except StateError as error:
        raise errors.answer(error) from None
    hint = _control_hint(context, is_active=outcome.status == "active")
    answer: JsonObject = {"status": outcome.status, "next_poll_seconds": hint}
    if outcome.remaining is not None:
        answer.update(deadline(outcome.remaining))
    return json_response(answer)


@auth.for_nodes
async def respond(request: web.BaseRequest) -> web.StreamResponse:
    """POST responses: a node's answer; the first one wins."""
    context = of(request)
    body, size = await envelope_body(request)
    envelope = validation.response_envelope(body, context.config)
    request_id = validation.optional_text(body, "request_id", context.config)
    client = digest(envelope["client_public_key"])
    _count_with_token(request, envelope["client_public_key"])
    proof = _proof(request, body, context)
    try:
        is_first = context.state.answer(client, request_id, envelope, size, proof)
    except StateError as error:
        raise errors.answer(error, Call.ANSWER) from None
    note(request, client=short(client), first=is_first)
    if is_first:
        return json_response({"message": "Response received and queued for client"})
    return json_response({"message": "Response already queued for client"})


@auth.for_nodes
async def unregister(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/unregister: leave; what was queued is cancelled."""
    context = of(request)
    body = await small_body(request)
    key = validation.leaving_key(body)
    credential = validation.optional_text(body, "control_credential", context.config)
    if context.state.is_owner(key, "", credential):
        count_node(request, fingerprint(key))
    try:
        removed = context.state.unregister(key, credential)
    except StateError as error:
        raise errors.answer(error) from None
    return unregistered(key, removed=removed)


def unregistered(key: str, *, removed: bool) -> web.Response:
    """The answer to a node or operator that took a node out."""
    log.info("node unregistered", node=fingerprint(key), removed=removed)
    return json_response({"message": "Server unregistered", "removed": removed})


async def _next_work(context: Context, key: str) -> Request | None:
    """Claim at once or hold; None at the end of the hold, and at once in a drain."""
    config, state, polls = context.config, context.state, context.polls
    work = state.claim(key)
    is_full = polls.held >= config.max_held_polls or polls.count(key) >= config.max_node_polls
    if work is None and is_full:
        raise ApiError(503, "Too many held polls", "too_many_polls", retry_after=5)
    ends = state.now() + config.poll_wait * (1 - _SPREAD * random.random())  # noqa: S311
    while work is None and not context.refusing and (left := ends - state.now()) > 0:
        node = state.touch(key)
        node.polls += 1
        try:
            await polls.wait(key, left)
        finally:
            node.polls -= 1
        state.touch(key)
        work = state.claim(key)
    return work


def _claim(body: JsonObject, work: Request) -> JsonObject:
    """What a node of a later release, which proves itself, is told of its claim."""
    return {"claim_generation": work.expired_leases + 1} if body.get("control_credential") else {}


async def _hand_over(
    context: Context, request: web.BaseRequest, work: Request, claim: JsonObject
) -> web.StreamResponse:
    """Write the work to its poller, or put it back when nobody is there to read it."""
    remaining = work.deadline - context.state.now()
    response = json_response(
        {
            **work.envelope,
            **claim,
            "e2ee_v1": True,
            # Real nodes sleep this long after their answer; absent means their whole lease.
            "next_ping_in_x_seconds": 0,
            **deadline(remaining),
        }
    )

    fencing_token = work.fencing_token

    def put_back() -> None:
        context.state.unclaim(work, fencing_token)
        log.info("poller gone, work queued again", node=fingerprint(work.node))

    await deliver(request, response, put_back)
    waited = work.claimed_at - work.created
    note(request, node=fingerprint(work.node), waited_ms=round(waited * 1000, 1))
    return response


def _idle(context: Context) -> JsonObject:
    # A node sleeps for a positive pause and takes it for its lease: in a drain it then registers
    # with the successor. Refused there, because that one starts only now, it would sleep 10 s.
    pause = _DRAIN_PAUSE if context.refusing else 0
    return {
        "message": "No requests available",
        "next_ping_in_x_seconds": pause if context.config.poll_wait else context.config.node_lease,
        "poll_wait_seconds": float(context.config.poll_wait),
    }


def _control_hint(context: Context, *, is_active: bool) -> float:
    config = context.config
    lease = max(1.0, config.in_flight_lease / 2) if is_active else 10.0
    return max(1.0, min(config.control_hint, config.poll_wait, lease, 10.0))


def _proof(request: web.BaseRequest, body: JsonObject, context: Context) -> Proof:
    credential = validation.optional_text(body, "control_credential", context.config)
    return Proof(credential, auth.registration_token(request) or b"")


def _count_with_token(request: web.BaseRequest, identity: str) -> None:
    """Count by who the caller says it is, where its token makes that believable."""
    if of(request).config.server_tokens:
        count_node(request, fingerprint(identity))


def _capabilities(body: JsonObject) -> Capabilities | None:
    given = body.get("capabilities")
    try:
        return None if given is None else capabilities.parse(given)
    except InvalidCapabilities as error:
        raise errors.answer(error) from None


def _ignore(_outcome: bool) -> None:
    """Nothing is left to do."""
