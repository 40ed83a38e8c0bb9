"""The routes of compute nodes: register, poll, control, answer, unregister."""

import random
import secrets
from typing import Final

from aiohttp import web

from tokenplace_relay.api import errors, validation
from tokenplace_relay.api.answers import deadline, unregistered
from tokenplace_relay.api.app_context import Context, of
from tokenplace_relay.api.body import envelope_body, small_body
from tokenplace_relay.api.delivery import deliver
from tokenplace_relay.api.errors import Call
from tokenplace_relay.api.middleware import auth
from tokenplace_relay.api.middleware.rate_limiting import count_node
from tokenplace_relay.api.request_log import note
from tokenplace_relay.server.direct import DirectRoute
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.state import capabilities
from tokenplace_relay.state.capabilities import Capabilities, InvalidCapabilities
from tokenplace_relay.state.digests import digest, secret_digest
from tokenplace_relay.state.errors import StateError
from tokenplace_relay.state.results import Proof, Work
from tokenplace_relay.telemetry.logs import fingerprint, get, short

log = get("tokenplace.relay.node")

_SPREAD: Final = 0.1
"""Part of a hold by which it is shortened at random, so that polls do not end together."""

_DRAIN_PAUSE: Final = 5
"""Seconds that a successor takes to start."""


def routes() -> list[DirectRoute]:
    """The routes of this module."""
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
    """POST servers/register: add or renew a node; a new node receives its credential once."""
    context = of(request)
    context.refuse_when_draining()
    body = await small_body(request)
    key = validation.node_key(body, context.config)
    _count_with_token(request, key)
    able = _capabilities(body) or Capabilities()
    # Made here and not in the state, so that the state only ever gets its digest.
    credential = secrets.token_urlsafe(32)
    try:
        is_issued = await context.state.register(
            key, able, _proof(request, body, context), secret_digest(credential)
        )
    except StateError as error:
        raise errors.answer(error) from None
    answer: JsonObject = {
        "next_ping_in_x_seconds": context.config.node_lease,
        "poll_wait_seconds": float(context.config.poll_wait),
        "relay_capabilities": {"encrypted_progress_v1": True, "node_proof_v1": True},
    }
    # The relay has only the digest of an earlier credential, so a renewal cannot repeat it.
    if not is_issued:
        return json_response(answer)
    answer["control_credential"] = credential
    log.info("node registered", node=fingerprint(key))

    async def undo() -> None:
        # A node that did not receive its credential would claim work and never answer it.
        await context.state.unregister(key, secret_digest(credential))

    return await deliver(request, json_response(answer), undo)


@auth.for_nodes
async def poll(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/poll: claim work; held until there is some, at most `poll_wait` seconds."""
    context = of(request)
    body = await small_body(request)
    key = validation.node_key(body, context.config)
    _count_with_token(request, key)
    try:
        work = await context.state.next_work(
            key, _capabilities(body), _proof(request, body, context), _hold(context)
        )
    except StateError as error:
        raise errors.answer(error) from None
    if work is None:
        return json_response(_idle(context))
    return await _hand_over(context, request, work, key, _claim(body, work))


@auth.for_nodes
async def control(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/control: renew the lease of claimed work, or learn how it ended."""
    context = of(request)
    body = await small_body(request)
    if not body.get("server_public_key"):
        raise ApiError(400, "Invalid request data")
    key = validation.node_key(body, context.config)
    request_id = validation.required_text(body, "request_id", context.config)
    credential = _credential(body, context)
    acknowledge = body.get("acknowledge") is True or body.get("ack") is True
    try:
        # Only a proven owner is counted by its key: otherwise an outsider could use up its limit.
        if await context.state.owns(key, request_id, credential):
            count_node(request, fingerprint(key))
        outcome = await context.state.control(key, request_id, credential, acknowledge=acknowledge)
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
        is_first = await context.state.answer(client, request_id, envelope, size, proof)
    except StateError as error:
        raise errors.answer(error, Call.ANSWER) from None
    note(request, client=short(client), first=is_first)
    if is_first:
        return json_response({"message": "Response received and queued for client"})
    return json_response({"message": "Response already queued for client"})


@auth.for_nodes
async def unregister(request: web.BaseRequest) -> web.StreamResponse:
    """POST servers/unregister: remove the node and cancel its requests."""
    context = of(request)
    body = await small_body(request)
    key = validation.leaving_key(body)
    credential = _credential(body, context)
    try:
        if await context.state.owns(key, "", credential):
            count_node(request, fingerprint(key))
        removed = await context.state.unregister(key, credential)
    except StateError as error:
        raise errors.answer(error) from None
    return unregistered(key, removed=removed)


def _hold(context: Context) -> float:
    """Seconds for which a poll without work is held."""
    return context.config.poll_wait * (1 - _SPREAD * random.random())  # noqa: S311 (no secret)


def _claim(body: JsonObject, work: Work) -> JsonObject:
    """The generation of a claim, for nodes of later releases, which prove themselves."""
    return {"claim_generation": work.expired_leases + 1} if body.get("control_credential") else {}


async def _hand_over(
    context: Context, request: web.BaseRequest, work: Work, node: str, claim: JsonObject
) -> web.StreamResponse:
    """Send the work to its poller, or put it back when the poller has hung up."""
    response = json_response(
        {
            **work.envelope.copy(),
            **claim,
            "e2ee_v1": True,
            # token.place nodes sleep this long after their answer, or their whole lease without it.
            "next_ping_in_x_seconds": 0,
            **deadline(work.remaining),
        }
    )

    async def undo() -> None:
        await context.state.unclaim(work)
        log.info("poller gone, work queued again", node=fingerprint(node))

    await deliver(request, response, undo)
    note(request, node=fingerprint(node), waited_ms=round(work.waited * 1000, 1))
    return response


def _idle(context: Context) -> JsonObject:
    # A node sleeps for a positive pause, and then registers with the successor of a draining
    # relay. Without a pause it would come before the successor listens, and then sleep 10 s.
    pause = _DRAIN_PAUSE if context.refusing else 0
    return {
        "message": "No requests available",
        "next_ping_in_x_seconds": pause if context.config.poll_wait else context.config.node_lease,
        "poll_wait_seconds": float(context.config.poll_wait),
    }


def _control_hint(context: Context, *, is_active: bool) -> float:
    config = context.config
    # Half of the lease, so that one lost control call does not end it. Nodes accept 1 to 10 s.
    lease = max(1.0, config.in_flight_lease / 2) if is_active else 10.0
    return max(1.0, min(config.control_hint, config.poll_wait, lease, 10.0))


def _proof(request: web.BaseRequest, body: JsonObject, context: Context) -> Proof:
    return Proof(_credential(body, context), auth.registration_token(request) or b"")


def _credential(body: JsonObject, context: Context) -> bytes:
    """Digest of the control credential in a body; b'' when there is none."""
    return secret_digest(validation.optional_text(body, "control_credential", context.config))


def _count_with_token(request: web.BaseRequest, identity: str) -> None:
    """Count a call by the identity in its body, which a registration token makes credible."""
    if of(request).config.server_tokens:
        count_node(request, fingerprint(identity))


def _capabilities(body: JsonObject) -> Capabilities | None:
    given = body.get("capabilities")
    try:
        return None if given is None else capabilities.parse(given)
    except InvalidCapabilities as error:
        raise errors.answer(error) from None
