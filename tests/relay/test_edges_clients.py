"""Edge cases of the clients' routes: status, code, message, and what changed in the relay."""

import pytest

from tokenplace_harness.inside import (
    CLIENT,
    MODEL,
    NODE,
    OTHER_CLIENT,
    OTHER_NODE,
    RELAY,
    SEALED,
    TOKEN,
    Answer,
    Inside,
    Json,
    inside,
)
from tokenplace_harness.table import Row, Step, later, play

NO_NODES = "No registered compute nodes are available on this relay."
NO_MATCH = "No compute node serves this model and context tier."
BUSY = "Every compute node that fits is busy."
GONE_NODE = "Server with the specified public key not found"
PLAIN = "Plaintext relay payload fields are forbidden; send ciphertext envelope only"
UNEXPECTED = "Unexpected relay payload fields are forbidden; send ciphertext envelope only"
INVALID = "Invalid request data"
NO_CLIENT = "Missing client public key"
NO_PROOF = "Missing or invalid cancel proof"
NO_ANSWER = "No response available for the given public key"
UNKNOWN = "Unknown request_id: r1"


def register(key: str = NODE, **capabilities: object) -> Step:
    return lambda relay: relay.register(key, **capabilities)


def next_node(**query: str) -> Step:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return lambda relay: relay.call("GET", f"{RELAY}/servers/next?{text}")


def submit(request_id: str | None = "r1", key: str = NODE, **more: object) -> Step:
    fields: Json = more
    return lambda relay: relay.submit(request_id, key, **fields)


def requests(**body: object) -> Step:
    """POST requests with exactly this body; a value of ... leaves a field of the usual one out."""
    usual = {"client_public_key": CLIENT, "server_public_key": NODE, **SEALED, "request_id": "r1"}
    sent = {name: value for name, value in {**usual, **body}.items() if value is not ...}
    return lambda relay: relay.post("requests", sent)


def cancel(**body: object) -> Step:
    usual = {"client_public_key": CLIENT, "request_id": "r1", "cancel_token": TOKEN}
    sent = {name: value for name, value in {**usual, **body}.items() if value is not ...}
    return lambda relay: relay.post("requests/cancel", sent)


def retrieve(request_id: object = "r1", client: object = CLIENT) -> Step:
    usual = {"client_public_key": client, "request_id": request_id}
    sent = {name: value for name, value in usual.items() if value is not ...}
    return lambda relay: relay.post("responses/retrieve", sent)


def unregister(key: str = NODE) -> Step:
    return lambda relay: relay.unregister(key)


def progress() -> Step:
    return lambda relay: relay.progress()


async def poll(relay: Inside) -> Answer:
    return await relay.poll()


def respond(request_id: str | None = "r1", **more: object) -> Step:
    fields: Json = more
    return lambda relay: relay.respond(request_id, **fields)


QUEUED = [register(), submit()]
CLAIMED = [*QUEUED, poll]
ANSWERED = [*CLAIMED, respond()]
READ = [*ANSWERED, retrieve()]
CANCELLED = [*QUEUED, cancel()]
EXPIRED = [*QUEUED, later(480)]
BIG_TIER: Json = {"active_context_tier": "64k-full", "maximum_total_context_tokens": 65536}

NEXT = [
    Row("empty relay", [], next_node(), 503, "no_registered_compute_nodes", NO_NODES),
    Row("empty relay, bad tier: the first matters more", [], next_node(context_tier="x"), 503,
        "no_registered_compute_nodes", NO_NODES),
    Row("unknown tier", [register()], next_node(context_tier="16k"), 400,
        "invalid_context_tier", "Unsupported context_tier"),
    Row("empty tier", [register()], next_node(context_tier=""), 400,
        "invalid_context_tier", "Unsupported context_tier"),
    Row("unknown model", [register()], next_node(model="gpt-9"), 503,
        "no_matching_compute_node", NO_MATCH),
    Row("tier too small", [register()], next_node(context_tier="64k-full"), 503,
        "no_matching_compute_node", NO_MATCH),
    Row("node without capabilities is never chosen",
        [lambda relay: relay.post("servers/register", {"server_public_key": NODE})],
        next_node(), 503, "no_matching_compute_node", NO_MATCH),
    Row("node at work is full", CLAIMED, next_node(), 503, "no_available_capacity", BUSY),
    Row("node with a queue is not", QUEUED, next_node(), 200, body={
        "selected_queue_depth": 1, "selected_in_flight_count": 0, "selected_load_score": 1.0}),
    Row("node at work past its lease has room again", [*CLAIMED, later(30)], next_node(), 200,
        body={"selected_in_flight_count": 0}),
    Row("defaults", [register()], next_node(), 200, body={
        "server_public_key": NODE, "requested_model": MODEL, "resolved_model": MODEL,
        "requested_context_tier": "8k-fast", "selected_context_tier": "8k-fast",
        "selected_context_window_tokens": 8192, "selected_model_support": [MODEL],
        "selection_policy": "best_fit_smallest_capable_least_loaded_v1",
        "eligible_node_count": 1, "eligible_tier_counts": {"8k-fast": 1}, "spillover": False,
        "spillover_reason": "absent", "selected_queue_depth": 0, "selected_in_flight_count": 0,
        "selected_load_score": 0.0}),
    Row("model in other letters, with space", [register()], next_node(model="%20QWEN3-8b-Instruct"),
        200, body={"requested_model": " QWEN3-8b-Instruct", "resolved_model": MODEL}),
    *(Row(f"alias {alias}", [register()], next_node(model=alias), 200,
          body={"requested_model": alias, "resolved_model": MODEL})
      for alias in ("llama-3.1-8b-instruct", "llama-3-8b-instruct", "gpt-3.5-turbo",
                    "gpt-5-chat-latest")),
    Row("large node serves a small tier", [register(**BIG_TIER)], next_node(), 200, body={
        "spillover": True, "spillover_reason": "no_smaller_eligible_node_available",
        "selected_context_tier": "64k-full", "selected_context_window_tokens": 65536}),
    Row("smallest tier first", [register(**BIG_TIER), register(OTHER_NODE)], next_node(), 200,
        body={"server_public_key": OTHER_NODE, "eligible_node_count": 2,
              "eligible_tier_counts": {"8k-fast": 1, "64k-full": 1}}),
    Row("least loaded first", [*QUEUED, register(OTHER_NODE)], next_node(), 200,
        body={"server_public_key": OTHER_NODE}),
    Row("equals take turns", [register(), register(OTHER_NODE), next_node()], next_node(), 200,
        body={"server_public_key": OTHER_NODE}),
    Row("and come round again", [register(), register(OTHER_NODE), next_node(), next_node()],
        next_node(), 200, body={"server_public_key": NODE}),
    Row("node that left and came back is last in order",
        [register(), register(OTHER_NODE), unregister(), register()], next_node(), 200,
        body={"server_public_key": OTHER_NODE}),
    Row("renewal keeps the order", [register(), register(OTHER_NODE), register()], next_node(), 200,
        body={"server_public_key": NODE}),
    Row("silent node, before the timer looks", [register()],
        lambda relay: after_silence(relay, next_node()), 503,
        "no_registered_compute_nodes", NO_NODES, then={"nodes": -1}),
]  # fmt: skip


async def after_silence(relay: Inside, step: Step) -> Answer:
    """The call of a moment in which the relay's timer has not looked yet."""
    relay.clock.now += 31
    return await step(relay)


REQUESTS = [
    Row("accepted", [register()], requests(), 200, then={"queued": 1}, body={
        "message": "Request received", "request_deadline_remaining_seconds": 480.0,
        "request_ttl_seconds": 480.0}),
    Row("as Python clients send it", [register()],
        requests(ciphertext=..., chat_history="sealed"), 200, then={"queued": 1}),
    Row("without an id", [register()], requests(request_id=...), 200, then={"queued": 1}),
    Row("null id is none", [register()], requests(request_id=None), 200, then={"queued": 1}),
    Row("any protocol and version", [register()], requests(protocol="x", version=2.5), 200,
        then={"queued": 1}),
    *(Row(f"{name} that nests", [register()], requests(**{name: value}), 400, message=INVALID)
      for name in ("ciphertext", "cipherkey", "iv", "protocol", "version")
      for value in ([1], {"a": 1})),
    *(Row(f"plaintext {name}", [register()], requests(**{name: "hello"}), 400, message=PLAIN)
      for name in ("messages", "prompt", "input", "content", "response", "text")),
    Row("plaintext that is null", [register()], requests(prompt=None), 400, message=PLAIN),
    Row("plaintext before unexpected", [register()], requests(prompt="", stream=True), 400,
        message=PLAIN),
    Row("unexpected key", [register()], requests(stream=True), 400, message=UNEXPECTED),
    Row("unexpected before missing", [register()], requests(stream=True, iv=...), 400,
        message=UNEXPECTED),
    Row("credential is unexpected here", [register()], requests(control_credential="x"), 400,
        message=UNEXPECTED),
    *(Row(f"without {name}", [register()], requests(**{name: ...}), 400, message=INVALID)
      for name in ("ciphertext", "cipherkey", "iv", "server_public_key")),
    *(Row(f"empty {name}", [register()], requests(**{name: ""}), 400, message=INVALID)
      for name in ("ciphertext", "cipherkey", "iv", "server_public_key")),
    Row("without client key", [register()], requests(client_public_key=...), 400,
        message=NO_CLIENT),
    Row("empty client key", [register()], requests(client_public_key=""), 400, message=NO_CLIENT),
    Row("client key that is a number", [register()], requests(client_public_key=5), 400,
        message=NO_CLIENT),
    Row("client key that is an object", [register()], requests(client_public_key={}), 400,
        message=NO_CLIENT),
    Row("node key that is an object", [register()], requests(server_public_key={"a": 1}), 400,
        message="Invalid public key"),
    Row("id that is a number", [register()], requests(request_id=7), 400,
        message="request_id must be a string"),
    Row("token that is a list", [register()], requests(cancel_token=[1]), 400,
        message="cancel_token must be a string"),
    Row("id too long", [register()], requests(request_id="x" * 257), 413,
        message="request_id is longer than 256 characters"),
    Row("key too long", [register()], requests(client_public_key="x" * 8193), 413,
        message="client_public_key is longer than 8192 characters"),
    Row("with a reservation, as later clients send it", [register()],
        requests(reservation_token="token", request_deadline_epoch=1764000000.5), 200,
        then={"queued": 1}, body={"retrieval_credential": "token"}),
    Row("without one nothing more is said", [register()], requests(), 200, then={"queued": 1},
        body={"retrieval_credential": "absent"}),
    Row("reservation that is a list", [register()], requests(reservation_token=["x"]), 400,
        message="reservation_token must be a string"),
    Row("unknown node", [register()], requests(server_public_key="nobody"), 404, message=GONE_NODE),
    Row("node that left", [register(), unregister()], requests(), 404, message=GONE_NODE),
    Row("silent node, before the timer looks", [register()],
        lambda relay: after_silence(relay, requests()), 404, message=GONE_NODE),
    Row("again while queued: once", QUEUED, requests(), 200),
    Row("again while queued: the same deadline", [*QUEUED, later(10)], requests(), 200,
        body={"request_ttl_seconds": 470.0}),
    Row("again while at work", CLAIMED, requests(), 200),
    Row("again, to another node: once", [*QUEUED, register(OTHER_NODE)],
        requests(server_public_key=OTHER_NODE), 200),
    Row("again when answered", ANSWERED, requests(), 200),
    Row("again when read, within the replay", READ, requests(), 200),
    Row("again when cancelled", CANCELLED, requests(), 410, "cancelled", "Request cancelled"),
    Row("again when expired", [*EXPIRED, register()], requests(), 410, "expired",
        "Request expired"),
    Row("same id of another client is another request", QUEUED,
        requests(client_public_key=OTHER_CLIENT), 200, then={"queued": 1}),
    Row("two without id are two", [register(), requests(request_id=...)],
        requests(request_id=...), 200, then={"queued": 1}),
    Row("after the memory of its end", [*CANCELLED, later(301), register()], requests(), 200,
        then={"queued": 1}),
]  # fmt: skip

CANCEL = [
    Row("while queued", QUEUED, cancel(), 200, then={"queued": -1, "ended": 1},
        body={"status": "cancelled", "request_id": "r1", "removed_from_queue": 1}),
    Row("while at work", CLAIMED, cancel(), 200,
        then={"claimed": -1, "ended": 1, "tombstones": 1},
        body={"status": "cancelled", "request_id": "r1", "removed_from_queue": 0}),
    Row("while at work, with news", [*CLAIMED, progress()], cancel(), 200,
        then={"claimed": -1, "ended": 1, "tombstones": 1, "progress": -1}),
    Row("as expired", QUEUED, cancel(status="expired", reason="client_timeout"), 200,
        then={"queued": -1, "ended": 1}, body={"status": "expired"}),
    Row("unknown status is cancelled", QUEUED, cancel(status="completed"), 200,
        then={"queued": -1, "ended": 1}, body={"status": "cancelled"}),
    Row("again: the same", CANCELLED, cancel(), 200,
        body={"status": "cancelled", "request_id": "r1", "removed_from_queue": 0}),
    Row("again as something else: the first stands", CANCELLED, cancel(status="expired"), 200,
        body={"status": "cancelled"}),
    Row("after its deadline", EXPIRED, cancel(), 200, body={"status": "expired"}),
    Row("in the moment of its deadline", QUEUED, lambda relay: at_deadline(relay, cancel()), 200,
        then={"queued": -1, "ended": 1}, body={"status": "expired", "removed_from_queue": 0}),
    Row("wrong token", QUEUED, cancel(cancel_token="x"), 403, message=NO_PROOF),
    Row("wrong token when cancelled", CANCELLED, cancel(cancel_token="x"), 403, message=NO_PROOF),
    Row("handed in without token", [register(), submit(cancel_token=None)], cancel(), 403,
        message=NO_PROOF),
    Row("unknown id", QUEUED, cancel(request_id="r2"), 403, message=NO_PROOF),
    Row("other client", QUEUED, cancel(client_public_key=OTHER_CLIENT), 403, message=NO_PROOF),
    Row("answered", ANSWERED, cancel(), 403, message=NO_PROOF),
    Row("read", READ, cancel(), 403, message=NO_PROOF),
    *(Row(f"without {name}", QUEUED, cancel(**{name: ...}), 400, message=INVALID)
      for name in ("client_public_key", "request_id", "cancel_token")),
    *(Row(f"empty {name}", QUEUED, cancel(**{name: ""}), 400, message=INVALID)
      for name in ("client_public_key", "request_id", "cancel_token")),
    Row("id that is an object", QUEUED, cancel(request_id={}), 400,
        message="request_id must be a string"),
    Row("status and reason of wrong types", QUEUED, cancel(status=[1], reason={}), 200,
        then={"queued": -1, "ended": 1}, body={"status": "cancelled"}),
]  # fmt: skip


async def at_deadline(relay: Inside, step: Step) -> Answer:
    """The call of a moment in which the relay's timer has not looked yet."""
    relay.clock.now += 480
    return await step(relay)


NO_READER = "Missing or invalid retrieval credential"
RESERVED = [register(), submit(reservation_token="token"), poll, respond()]


def prove(credential: str = "token", token: str | None = None) -> Step:
    """Retrieve, or with a token acknowledge, as clients of later releases do."""
    body = {"client_public_key": CLIENT, "request_id": "r1", "retrieval_credential": credential}
    more = {} if token is None else {"acknowledgement_token": token}
    return lambda relay: relay.post("responses/retrieve", {**body, **more})


SEALED_ANSWER = {"chat_history": "sealed", "ciphertext": "sealed", "cipherkey": "wrapped",
                 "iv": "iv", "client_public_key": CLIENT}  # fmt: skip
RETRIEVE = [
    Row("queued", QUEUED, retrieve(), 202, body={
        "status": "pending", "request_deadline_remaining_seconds": 480.0,
        "request_ttl_seconds": 480.0, "encrypted_progress": "absent"}),
    Row("at work, later", [*CLAIMED, later(5)], retrieve(), 202,
        body={"status": "pending", "request_ttl_seconds": 475.0}),
    Row("answered", ANSWERED, retrieve(), 200, then={"unread": -1, "ended": 1},
        body={**SEALED_ANSWER, "request_id": "r1", "protocol": "absent", "cancel_token": "absent",
              "e2ee_v1": "absent"}),
    Row("with protocol and version as the node sent them",
        [*CLAIMED, respond(protocol="p", version=1)], retrieve(), 200,
        then={"unread": -1, "ended": 1}, body={"protocol": "p", "version": 1}),
    Row("again within the replay", READ, retrieve(), 200, body=SEALED_ANSWER),
    Row("at the end of the replay", [*READ, later(299)], retrieve(), 200, body=SEALED_ANSWER),
    Row("after the replay", [*READ, later(301)], retrieve(), 404, message=UNKNOWN),
    Row("never read, too late", [*ANSWERED, later(301)], retrieve(), 404, message=UNKNOWN),
    Row("answer outlives its deadline", [*CLAIMED, later(479), respond(), later(100)], retrieve(),
        200, then={"unread": -1, "ended": 1}),
    Row("answer outlives its node", [*ANSWERED, unregister()], retrieve(), 200,
        then={"unread": -1, "ended": 1}),
    Row("cancelled", CANCELLED, retrieve(), 410, "cancelled", "Request cancelled"),
    Row("cancelled, long ago", [*CANCELLED, later(301)], retrieve(), 404, message=UNKNOWN),
    Row("expired", EXPIRED, retrieve(), 410, "expired", "Request expired"),
    Row("in the moment of its deadline", QUEUED, lambda relay: at_deadline(relay, retrieve()), 410,
        "expired", "Request expired", then={"queued": -1, "ended": 1}),
    Row("node left", [*QUEUED, unregister()], retrieve(), 410, "cancelled", "Request cancelled"),
    Row("unknown id", QUEUED, retrieve("r2"), 404, message="Unknown request_id: r2"),
    Row("id of another client", ANSWERED, retrieve(client=OTHER_CLIENT), 404, message=UNKNOWN),
    Row("without id: the oldest",
        [*ANSWERED, submit("r2"), poll, respond("r2")], retrieve(...), 200,
        then={"unread": -1, "ended": 1}, body={"request_id": "r1"}),
    Row("without id: then the next",
        [*ANSWERED, submit("r2"), poll, respond("r2"), retrieve(...)], retrieve(...), 200,
        then={"unread": -1, "ended": 1}, body={"request_id": "r2"}),
    Row("without id: nothing", [register()], retrieve(...), 404, message=NO_ANSWER),
    Row("without id: at work is nothing", CLAIMED, retrieve(...), 404, message=NO_ANSWER),
    Row("without id: read is nothing", READ, retrieve(...), 404, message=NO_ANSWER),
    Row("without id: null is none", ANSWERED, retrieve(None), 200, then={"unread": -1, "ended": 1}),
    Row("request without id is read without id",
        [register(), submit(None), poll, respond(None)], retrieve(...), 200,
        then={"unread": -1, "ended": 1}, body={**SEALED_ANSWER, "request_id": "absent"}),
    Row("handed in with a reservation: without it", RESERVED, retrieve(), 403, message=NO_READER),
    Row("with a wrong one", RESERVED, prove(credential="x"), 403, message=NO_READER),
    Row("with it", RESERVED, prove(), 200, then={"unread": -1, "ended": 1}, body=SEALED_ANSWER),
    Row("without id: not what is reserved", RESERVED, retrieve(...), 404, message=NO_ANSWER),
    Row("acknowledged by a guess", RESERVED, prove(token="x"), 403, message=NO_READER),
    Row("acknowledged by nobody", ANSWERED, prove(token="x"), 403, message=NO_READER),
    Row("without client key", ANSWERED, retrieve(client=...), 400, message=NO_CLIENT),
    Row("client key that is a list", ANSWERED, retrieve(client=["a"]), 400, message=NO_CLIENT),
    Row("id that is a number", ANSWERED, retrieve(7), 400, message="request_id must be a string"),
]  # fmt: skip


@pytest.mark.parametrize("row", NEXT, ids=lambda row: row.name)
async def test_next(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", REQUESTS, ids=lambda row: row.name)
async def test_requests(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", CANCEL, ids=lambda row: row.name)
async def test_cancel(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", RETRIEVE, ids=lambda row: row.name)
async def test_retrieve(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({}, "cancelled"),
        ({"reason": "client_timeout"}, "client_timeout"),
        ({"reason": "made up"}, "cancelled"),
        ({"status": "expired"}, "expired"),
        ({"status": "expired", "reason": "provider_timeout"}, "provider_timeout"),
        ({"reason": ["x"]}, "cancelled"),
    ],
)
async def test_reason_of_a_cancel_is_one_of_a_list(sent: Json, told: str) -> None:
    async with inside() as relay:
        for step in QUEUED:
            await step(relay)
        await relay.cancel(**sent)
        error = (await relay.retrieve()).error
        assert error["reason"] == told
        assert error["status"] == error["code"] == sent.get("status", "cancelled")


async def test_refusals_of_next_count_who_would_fit() -> None:
    async with inside() as relay:
        await relay.register(**BIG_TIER)
        await relay.submit()
        await relay.poll()
        full = (await next_node()(relay)).error
        assert full["capacity_limited_node_count"] == 1
        assert full["capacity_limited_tier_counts"] == {"64k-full": 1}
        none = (await next_node(model="other")(relay)).error
        assert "capacity_limited_node_count" not in none
        for error, model in ((full, MODEL), (none, "other")):
            assert error["requested_model"] == model
            assert error["requested_context_tier"] == "8k-fast"
            assert error["eligible_node_count"] == 0
            assert error["eligible_tier_counts"] == {}
            assert error["selection_policy"] == "best_fit_smallest_capable_least_loaded_v1"
