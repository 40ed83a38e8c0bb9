"""The routes of clients: select, hand in, cancel, retrieve."""

from typing import Final

from aiohttp import web

from tokenplace_relay.api import errors, reservation, validation
from tokenplace_relay.api.app_context import Context, of
from tokenplace_relay.api.body import envelope_body, small_body
from tokenplace_relay.api.errors import Call
from tokenplace_relay.api.prefer import PREFER, preference
from tokenplace_relay.api.request_log import note
from tokenplace_relay.server.direct import DirectRoute
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.model import (
    Envelope,
    Key,
    Node,
    Pending,
    Stage,
    StateError,
    digest,
    request_key,
)
from tokenplace_relay.state.selection import DEFAULT_MODEL, NO_CHOICE, POLICY, Choice, resolve_model
from tokenplace_relay.telemetry.logs import fingerprint, get, short

log = get("tokenplace.relay.client")

MAX_MODEL_LENGTH: Final = 128
_REASONS: Final = frozenset(
    {
        "cancelled", "client_timeout", "expired", "requester_cancelled", "requester_gave_up",
        "provider_timeout", "pending_request_ttl_exceeded", "server_unregistered",
    }
)  # fmt: skip


def routes() -> list[DirectRoute]:
    """What this module serves."""
    relay = "/api/v1/relay"
    return [
        DirectRoute("GET", f"{relay}/servers/next", select),
        DirectRoute("POST", f"{relay}/requests", submit),
        DirectRoute("POST", f"{relay}/requests/cancel", cancel),
        DirectRoute("POST", f"{relay}/responses/retrieve", retrieve),
    ]


async def select(request: web.BaseRequest) -> web.Response:
    """GET servers/next: name a compute node; reserves nothing."""
    context = of(request)
    context.refuse_when_draining()
    asked = request.query.get("model", DEFAULT_MODEL)[:MAX_MODEL_LENGTH]
    tier = request.query.get("context_tier", "8k-fast")
    state = context.state
    choice = state.select(resolve_model(asked), tier) if tier in TIERS else NO_CHOICE
    if choice.node is None:
        raise _nobody(state, choice, asked, tier)
    selected = _selected(choice, choice.node, asked, tier, state.now())
    return json_response({**selected, **reservation.offered(request.query, context.config)})


async def submit(request: web.BaseRequest) -> web.Response:
    """POST requests: queue an envelope for a compute node, once for each request id."""
    context = of(request)
    context.refuse_when_draining()
    body, size = await envelope_body(request)
    envelope = validation.request_envelope(body, context.config)
    client = digest(envelope["client_public_key"])
    request_id = validation.optional_text(body, "request_id", context.config)
    token = validation.optional_text(body, "cancel_token", context.config)
    # Without an id nothing can be asked for by name, and so by nobody in particular.
    reader = (
        validation.optional_text(body, "reservation_token", context.config) if request_id else ""
    )
    node = validation.node_key(body, context.config)
    try:
        remaining = context.state.submit(
            client, request_id, node, envelope, size=size, token=token, reader=reader
        )
    except StateError as error:
        raise errors.answer(error) from None
    note(request, client=short(client), node=fingerprint(node))
    answer: JsonObject = {"message": "Request received", **deadline(remaining)}
    if reader:
        answer["retrieval_credential"] = reader
    return json_response(answer)


async def cancel(request: web.BaseRequest) -> web.Response:
    """POST requests/cancel: take a request back, with the token it was handed in with."""
    context = of(request)
    body = await small_body(request)
    client = body.get("client_public_key")
    if not client:
        raise ApiError(400, "Invalid request data")
    client = digest(validation.client_key(body, context.config))
    request_id = validation.required_text(body, "request_id", context.config)
    token = validation.required_text(body, "cancel_token", context.config)
    wanted = Stage.EXPIRED if body.get("status") == "expired" else Stage.CANCELLED
    given = body.get("reason")
    reason = given if isinstance(given, str) and given in _REASONS else str(wanted)
    try:
        stage, removed = context.state.cancel(client, request_id, token, wanted, reason)
    except StateError as error:
        raise errors.answer(error, Call.CANCEL) from None
    log.info("request cancelled", client=short(client), reason=reason)
    answer: JsonObject = {"status": str(stage), "request_id": request_id}
    return json_response({**answer, "removed_from_queue": removed})


async def retrieve(request: web.BaseRequest) -> web.Response:
    """POST responses/retrieve: the answer, or how long it may still take.

    With `Prefer: wait=N` (RFC 7240) it is held until there is news, at most so many seconds.
    """
    context = of(request)
    body = await small_body(request)
    key = validation.client_key(body, context.config)
    request_id = validation.optional_text(body, "request_id", context.config)
    client = digest(key)
    reader = validation.optional_text(body, "retrieval_credential", context.config)
    token = validation.optional_text(body, "acknowledgement_token", context.config)
    wait = preference(request.headers.getall(PREFER, ()), context.config.max_prefer_wait)
    _check_unsent(context, client, request_id)
    try:
        if not request_id:
            return json_response(context.state.retrieve_any(client))
        if token:
            return _acknowledged(context, client, request_id, reader, token)
        found, waited = await _with_news(context, (client, request_id, reader), wait)
    except StateError as error:
        raise errors.answer(error, Call.RETRIEVE, request_id) from None
    if isinstance(found, Pending):
        answer = _pending(found)
    else:
        answer = json_response({**found, **_receipt(client, request_id, reader)})
    if waited:
        answer.headers["Preference-Applied"] = f"wait={wait}"
    return answer


def _check_unsent(context: Context, client: Key, request_id: str) -> None:
    """Refuse a large answer that cannot leave now, before it counts as read."""
    if not context.unsent.is_full:
        return
    state = context.state
    known = state.requests.get(request_key(client, request_id))
    inbox = None if request_id else state.inboxes.get(client)
    waiting = [known] if known else list(inbox.unread.values()) if inbox else []
    # The text is told under both of its names.
    context.unsent.check(max((2 * one.answer_size for one in waiting), default=0))


def _acknowledged(
    context: Context, client: Key, request_id: str, reader: str, token: str
) -> web.Response:
    reservation.check(token, request_key(client, request_id), reader)
    context.state.acknowledge(client, request_id, reader)
    return json_response({"status": "acknowledged"})


def _receipt(client: Key, request_id: str, reader: str) -> JsonObject:
    """What a client that proves itself can acknowledge an answer with."""
    if not reader:
        return {}
    token = reservation.acknowledgement(request_key(client, request_id), reader)
    return {"acknowledgement_token": token}


async def _with_news(
    context: Context, asked: tuple[Key, str, str], wait: int
) -> tuple[Envelope | Pending, bool]:
    """What there is, after a hold where one is asked for and has room; and whether it had."""
    state, retrieves = context.state, context.retrieves
    key, ends = request_key(*asked[:2]), state.now() + wait
    found = state.retrieve(*asked)
    has_room = (
        not context.refusing
        and retrieves.held < context.config.max_held_retrieves
        and retrieves.count(key) < context.config.max_client_retrieves
    )
    while has_room and isinstance(found, Pending) and found.progress is None:
        left = min(ends - state.now(), found.remaining)
        if left <= 0 or context.refusing:
            break
        await retrieves.wait(key, left)
        found = state.retrieve(*asked)
    return found, has_room and wait > 0


def _pending(found: Pending) -> web.Response:
    body: JsonObject = {"status": "pending", **deadline(found.remaining)}
    if found.progress is not None:
        body["encrypted_progress"] = found.progress
    return json_response(body, 202)


def deadline(remaining: float) -> JsonObject:
    """The pair of equal seconds that peers know a deadline by."""
    return {"request_deadline_remaining_seconds": remaining, "request_ttl_seconds": remaining}


def _selected(choice: Choice, node: Node, asked: str, tier: str, now: float) -> JsonObject:
    able = node.capabilities
    spilled = able.tier != tier
    answer: JsonObject = {
        "server_public_key": node.key,
        "requested_context_tier": tier,
        "requested_model": asked,
        "resolved_model": resolve_model(asked),
        "selected_context_tier": able.tier,
        "selected_context_window_tokens": able.context_tokens,
        "selected_model_support": list(able.models),
        "selection_policy": POLICY,
        "eligible_node_count": sum(choice.eligible.values()),
        "eligible_tier_counts": choice.eligible,
        "selected_queue_depth": len(node.queue),
        "selected_in_flight_count": node.in_flight(now),
        "selected_load_score": node.load(now),
        "spillover": spilled,
    }
    if spilled:
        answer["spillover_reason"] = "no_smaller_eligible_node_available"
    return answer


def _nobody(state: StateMachine, choice: Choice, asked: str, tier: str) -> ApiError:
    # Those that are silent may have gone since they were last looked at.
    state.evict()
    if not state.nodes:
        text = "No registered compute nodes are available on this relay."
        return ApiError(503, text, "no_registered_compute_nodes", retry_after=5)
    if tier not in TIERS:
        return ApiError(400, "Unsupported context_tier", "invalid_context_tier")
    extra: JsonObject = {
        "selection_policy": POLICY,
        "requested_context_tier": tier,
        "requested_model": asked,
        "eligible_node_count": 0,
        "eligible_tier_counts": choice.eligible,
    }
    if not choice.full:
        text = "No compute node serves this model and context tier."
        return ApiError(503, text, "no_matching_compute_node", retry_after=5, extra=extra)
    extra["capacity_limited_node_count"] = sum(choice.full.values())
    extra["capacity_limited_tier_counts"] = choice.full
    text = "Every compute node that fits is busy."
    return ApiError(503, text, "no_available_capacity", retry_after=2, extra=extra)
