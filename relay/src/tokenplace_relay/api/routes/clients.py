"""The routes of clients: select a node, submit, cancel and retrieve a request."""

from typing import Final

from aiohttp import web

from tokenplace_relay.api import errors, reservation, validation
from tokenplace_relay.api.answers import deadline
from tokenplace_relay.api.app_context import Context, of
from tokenplace_relay.api.body import envelope_body, small_body
from tokenplace_relay.api.errors import Call
from tokenplace_relay.api.prefer import PREFER, preference
from tokenplace_relay.api.request_log import note
from tokenplace_relay.server.direct import DirectRoute
from tokenplace_relay.server.response import ApiError, JsonObject, json_response
from tokenplace_relay.state.capabilities import TIERS
from tokenplace_relay.state.digests import Key, digest, request_key, secret_digest
from tokenplace_relay.state.errors import StateError
from tokenplace_relay.state.results import Choice, Pending, SelectedNode, Stage
from tokenplace_relay.state.selection import DEFAULT_MODEL, POLICY, resolve_model
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
    """The routes of this module."""
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
    # The answer repeats the name, so its length is bounded.
    model = request.query.get("model", DEFAULT_MODEL)[:MAX_MODEL_LENGTH]
    tier = request.query.get("context_tier", "8k-fast")
    try:
        choice = await context.state.select(resolve_model(model), tier)
    except StateError as error:
        raise errors.answer(error) from None
    if choice.selected is None:
        raise _no_node(choice, model, tier)
    selected = _selected(choice, choice.selected, model, tier)
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
    # An anonymous request can be retrieved by its client's key alone, so no token can protect it.
    reader = (
        validation.optional_text(body, "reservation_token", context.config) if request_id else ""
    )
    node = validation.node_key(body, context.config)
    try:
        remaining = await context.state.submit(
            client,
            request_id,
            node,
            envelope,
            size=size,
            cancel_token=secret_digest(token),
            reader=secret_digest(reader),
        )
    except StateError as error:
        raise errors.answer(error) from None
    note(request, client=short(client), node=fingerprint(node))
    answer: JsonObject = {"message": "Request received", **deadline(remaining)}
    if reader:
        # In later token.place releases the reservation token is the retrieval credential too.
        answer["retrieval_credential"] = reader
    return json_response(answer)


async def cancel(request: web.BaseRequest) -> web.Response:
    """POST requests/cancel: end a request, with the cancel token that it was submitted with."""
    context = of(request)
    body = await small_body(request)
    client = body.get("client_public_key")
    if not client:
        raise ApiError(400, "Invalid request data")
    client = digest(validation.client_key(body, context.config))
    request_id = validation.required_text(body, "request_id", context.config)
    token = validation.required_text(body, "cancel_token", context.config)
    stage = Stage.EXPIRED if body.get("status") == "expired" else Stage.CANCELLED
    given = body.get("reason")
    # Other texts are dropped, because the reason is stored, logged and shown to callers.
    reason = given if isinstance(given, str) and given in _REASONS else str(stage)
    try:
        outcome = await context.state.cancel(
            client, request_id, secret_digest(token), stage, reason
        )
    except StateError as error:
        raise errors.answer(error, Call.CANCEL) from None
    log.info("request cancelled", client=short(client), reason=reason)
    answer: JsonObject = {"status": str(outcome.stage), "request_id": request_id}
    return json_response({**answer, "removed_from_queue": outcome.removed})


async def retrieve(request: web.BaseRequest) -> web.Response:
    """POST responses/retrieve: the answer, or the seconds until the deadline.

    With `Prefer: wait=N` (RFC 7240) the call is held until the request changes, at most N seconds.
    """
    context = of(request)
    body = await small_body(request)
    key = validation.client_key(body, context.config)
    request_id = validation.optional_text(body, "request_id", context.config)
    client = digest(key)
    reader = validation.optional_text(body, "retrieval_credential", context.config)
    token = validation.optional_text(body, "acknowledgement_token", context.config)
    wait = preference(request.headers.getall(PREFER, ()), context.config.max_prefer_wait)
    # While too many bytes are unsent only small answers are sent; a large one stays unread.
    room = context.unsent.small if context.unsent.is_full else None
    try:
        if not request_id:
            return json_response((await context.state.retrieve_any(client, room=room)).copy())
        if token:
            return await _acknowledged(context, client, request_id, reader, token)
        result = await context.state.retrieve(
            client, request_id, secret_digest(reader), hold=wait, room=room
        )
    except StateError as error:
        raise errors.answer(error, Call.RETRIEVE, request_id) from None
    if isinstance(result, Pending):
        answer = _pending(result)
    else:
        answer = json_response({**result.envelope.copy(), **_receipt(client, request_id, reader)})
    if result.was_held:
        answer.headers["Preference-Applied"] = f"wait={wait}"
    return answer


async def _acknowledged(
    context: Context, client: Key, request_id: str, reader: str, token: str
) -> web.Response:
    reservation.check(token, request_key(client, request_id), reader)
    await context.state.acknowledge(client, request_id, secret_digest(reader))
    return json_response({"status": "acknowledged"})


def _receipt(client: Key, request_id: str, reader: str) -> JsonObject:
    """The token with which a client that proved itself can acknowledge an answer."""
    if not reader:
        return {}
    token = reservation.acknowledgement(request_key(client, request_id), reader)
    return {"acknowledgement_token": token}


def _pending(result: Pending) -> web.Response:
    body: JsonObject = {"status": "pending", **deadline(result.remaining)}
    if result.progress is not None:
        body["encrypted_progress"] = result.progress.copy()
    return json_response(body, 202)


def _selected(choice: Choice, node: SelectedNode, model: str, tier: str) -> JsonObject:
    able = node.capabilities
    spilled = able.tier != tier
    answer: JsonObject = {
        "server_public_key": node.key,
        "requested_context_tier": tier,
        "requested_model": model,
        "resolved_model": resolve_model(model),
        "selected_context_tier": able.tier,
        "selected_context_window_tokens": able.context_tokens,
        "selected_model_support": list(able.models),
        "selection_policy": POLICY,
        "eligible_node_count": sum(choice.eligible.values()),
        "eligible_tier_counts": choice.eligible.copy(),
        "selected_queue_depth": node.queue_depth,
        "selected_in_flight_count": node.in_flight,
        "selected_load_score": node.load,
        "spillover": spilled,
    }
    if spilled:
        answer["spillover_reason"] = "no_smaller_eligible_node_available"
    return answer


def _no_node(choice: Choice, model: str, tier: str) -> ApiError:
    """Why no compute node could be named."""
    # An empty relay answers this before it checks the tier, as token.place relay.py does.
    if not choice.any_node:
        text = "No registered compute nodes are available on this relay."
        return ApiError(503, text, "no_registered_compute_nodes", retry_after=5)
    if tier not in TIERS:
        return ApiError(400, "Unsupported context_tier", "invalid_context_tier")
    extra: JsonObject = {
        "selection_policy": POLICY,
        "requested_context_tier": tier,
        "requested_model": model,
        "eligible_node_count": 0,
        "eligible_tier_counts": choice.eligible.copy(),
    }
    if not choice.full:
        text = "No compute node serves this model and context tier."
        return ApiError(503, text, "no_matching_compute_node", retry_after=5, extra=extra)
    extra["capacity_limited_node_count"] = sum(choice.full.values())
    extra["capacity_limited_tier_counts"] = choice.full.copy()
    text = "Every compute node that fits is busy."
    return ApiError(503, text, "no_available_capacity", retry_after=2, extra=extra)
