"""Edge cases of the compute nodes' routes: status, code, message, and what changed in the relay."""

import pytest

from tokenplace_harness.inside import (
    CLIENT,
    NODE,
    OTHER_CLIENT,
    OTHER_NODE,
    SEALED,
    Answer,
    Inside,
    Json,
    inside,
)
from tokenplace_harness.table import Row, Step, later, play

INVALID = "Invalid request data"
NO_NODE_KEY = "Missing server public key"
BAD_KEY = "Invalid public key"
GONE_NODE = "Server with the specified public key not found"
WRONG = "Missing or invalid relay server control credential"
NOT_WAITING = "Request is no longer waiting for a response"
RECEIVED = {"message": "Response received and queued for client"}
TWICE = {"message": "Response already queued for client"}
IDLE = {"message": "No requests available"}
CAPABILITIES = "invalid_capabilities"
MODELS = "capabilities.supported_model_ids must be a non-empty string list"
COUNTS = "capability token reservations and concurrency must be positive integers"
TOO_LARGE_RESERVATION = "default output reservation cannot exceed maximum output tokens"


def register(key: object = NODE, capabilities: object = ..., **more: object) -> Step:
    body = {"server_public_key": key, "capabilities": capabilities, **more}
    sent = {name: value for name, value in body.items() if value is not ...}

    async def step(relay: Inside) -> Answer:
        answer = await relay.post("servers/register", sent)
        if isinstance(answer.body, dict) and "control_credential" in answer.body:
            relay.credentials[str(key)] = answer.body["control_credential"]
        return answer

    return step


def able(**capabilities: object) -> Step:
    """Register with these capabilities and the usual model."""
    return register(capabilities={"supported_model_ids": ["m"], **capabilities})


def poll(key: object = NODE, **more: object) -> Step:
    return lambda relay: relay.post("servers/poll", {"server_public_key": key, **more})


def submit(request_id: str | None = "r1", **more: object) -> Step:
    fields: Json = more
    return lambda relay: relay.submit(request_id, **fields)


def cancel(request_id: str = "r1") -> Step:
    return lambda relay: relay.cancel(request_id)


def retrieve() -> Step:
    return lambda relay: relay.retrieve()


def unregister(key: str = NODE) -> Step:
    return lambda relay: relay.unregister(key)


def control(request_id: object = "r1", **more: object) -> Step:
    async def step(relay: Inside) -> Answer:
        proof = relay.credentials.get(NODE, "")
        body = {"server_public_key": NODE, "request_id": request_id, "control_credential": proof}
        sent = {name: value for name, value in {**body, **more}.items() if value is not ...}
        return await relay.post("servers/control", sent)

    return step


def respond(request_id: object = "r1", **more: object) -> Step:
    body = {"client_public_key": CLIENT, "request_id": request_id, **SEALED, **more}
    sent = {name: value for name, value in body.items() if value is not ...}
    return lambda relay: relay.post("responses", sent)


def with_credential(call: str, **more: object) -> Step:
    """A call that shows the node's credential where today's peers show nothing."""

    async def step(relay: Inside) -> Answer:
        proof = {"control_credential": relay.credentials[NODE]}
        body: Json = {"client_public_key": CLIENT, "request_id": "r1", **SEALED}
        if call != "responses":
            body = {"server_public_key": NODE}
        return await relay.post(call, {**body, **proof, **more})

    return step


def restart(key: str = NODE) -> list[Step]:
    """The node leaves and comes back, keeping its old credential for what is asked next."""

    async def come_back(relay: Inside) -> Answer:
        relay.credentials["old"] = relay.credentials[key]
        await relay.unregister(key)
        return await register(key)(relay)

    return [come_back]


def with_old(request_id: str = "r1", **more: object) -> Step:
    fields: Json = more
    return lambda relay: relay.control(request_id, credential=relay.credentials["old"], **fields)


def at(seconds: float, step: Step) -> Step:
    """The call of a moment in which the relay's timer has not looked yet."""

    async def late(relay: Inside) -> Answer:
        relay.clock.now += seconds
        return await step(relay)

    return late


KNOWN = [register()]
QUEUED = [*KNOWN, submit()]
CLAIMED = [*QUEUED, poll()]
ANSWERED = [*CLAIMED, respond()]
NEW = {"nodes": 1}

REGISTER = [
    Row("new", [], register(), 200, then=NEW, body={
        "next_ping_in_x_seconds": 30, "poll_wait_seconds": 0.0,
        "relay_capabilities": {"encrypted_progress_v1": True, "node_proof_v1": True}}),
    Row("again: no credential", KNOWN, register(), 200, body={"control_credential": "absent"}),
    Row("again with the right credential", KNOWN, with_credential("servers/register"), 200,
        body={"control_credential": "absent"}),
    Row("again with a wrong credential", KNOWN, register(control_credential="x"), 403,
        message=WRONG),
    Row("after leaving", [*KNOWN, unregister()], register(), 200, then=NEW),
    Row("capabilities null are none", [], register(capabilities=None), 200, then=NEW),
    Row("other keys are ignored", [], register(anything={"a": 1}), 200, then=NEW),
    Row("without key", [], register(...), 400, message=NO_NODE_KEY),
    Row("empty key", [], register(""), 400, message=NO_NODE_KEY),
    Row("null key", [], register(None), 400, message=NO_NODE_KEY),
    Row("key that is a number", [], register(5), 400, message=BAD_KEY),
    Row("key that is an object", [], register({"a": 1}), 400, message=BAD_KEY),
    Row("key too long", [], register("x" * 8193), 413,
        message="server_public_key is longer than 8192 characters"),
    *(Row(f"capabilities {given!r}", [], register(capabilities=given), 400, CAPABILITIES,
          "capabilities must be an object") for given in ("v1", 1, True, [1])),
    Row("api_version 1", [], able(api_version=1), 200, then=NEW),
    *(Row(f"api_version {given!r}", [], able(api_version=given), 400, CAPABILITIES,
          "capabilities.api_version must be v1") for given in ("v2", 2, True, "", None, ["v1"])),
    Row("tier of a wrong type", [], able(active_context_tier=8), 400, CAPABILITIES,
        "capabilities.active_context_tier must be a string"),
    Row("tier unknown", [], able(active_context_tier="16k"), 400, CAPABILITIES,
        "capabilities.active_context_tier is unsupported"),
    Row("tier by its other name", [],
        able(context_tier="64k-full", maximum_total_context_tokens=65536), 200, then=NEW),
    *(Row(f"models {given!r}"[:40], [], able(supported_model_ids=given), 400, CAPABILITIES, MODELS)
      for given in ([], "m", None, [1], [""], ["  "], ["m"] * 65, ["m" * 129], {"m": 1})),
    Row("64 models", [], able(supported_model_ids=[f"m{n}" for n in range(64)]), 200, then=NEW),
    Row("models by their other name", [], register(capabilities={"model_ids": ["m"]}), 200,
        then=NEW),
    *(Row(f"context {given!r}", [], able(maximum_total_context_tokens=given), 400, CAPABILITIES,
          "capabilities.maximum_total_context_tokens must be a positive integer")
      for given in (0, -1, 1.5, "8192", True, 1_000_001, None)),
    Row("context below its tier", [], able(maximum_total_context_tokens=8191), 400, CAPABILITIES,
        "capabilities.maximum_total_context_tokens is below the active tier"),
    *(Row(f"{name} {given!r}", [], able(**{name: given}), 400, CAPABILITIES, COUNTS)
      for name in ("default_output_token_reservation", "maximum_output_tokens", "max_concurrency")
      for given in (0, "1", True)),
    Row("concurrency 129", [], able(max_concurrency=129), 400, CAPABILITIES, COUNTS),
    Row("concurrency 128", [], able(max_concurrency=128), 200, then=NEW),
    Row("reservation above maximum", [],
        able(default_output_token_reservation=2, maximum_output_tokens=1), 400, CAPABILITIES,
        TOO_LARGE_RESERVATION),
    Row("backend of a wrong type", [], able(backend_class=1), 400, CAPABILITIES,
        "capabilities.backend_class must be a string"),
    Row("backend unknown is taken as unknown", [], able(backend_class="abacus"), 200, then=NEW),
    Row("a bad renewal changes nothing", KNOWN, able(max_concurrency=0), 400, CAPABILITIES, COUNTS),
]  # fmt: skip

POLL = [
    Row("idle", KNOWN, poll(), 200,
        body={**IDLE, "poll_wait_seconds": 0.0, "next_ping_in_x_seconds": 30}),
    Row("work", QUEUED, poll(), 200, then={"queued": -1, "claimed": 1}, body={
        "client_public_key": CLIENT, "chat_history": "sealed", "ciphertext": "sealed",
        "cipherkey": "wrapped", "iv": "iv", "request_id": "r1", "e2ee_v1": True,
        "next_ping_in_x_seconds": 0, "request_deadline_remaining_seconds": 480.0,
        "request_ttl_seconds": 480.0, "cancel_token": "absent", "protocol": "absent"}),
    Row("work with protocol and version", [*KNOWN, submit(protocol="p", version=1)], poll(), 200,
        then={"queued": -1, "claimed": 1}, body={"protocol": "p", "version": 1}),
    Row("work without an id", [*KNOWN, submit(None)], poll(), 200,
        then={"queued": -1, "claimed": 1}, body={"request_id": "absent"}),
    Row("oldest first", [*QUEUED, submit("r2")], poll(), 200, then={"queued": -1, "claimed": 1},
        body={"request_id": "r1"}),
    Row("next one while at work", [*CLAIMED, submit("r2")], poll(), 200,
        then={"queued": -1, "claimed": 1}, body={"request_id": "r2"}),
    Row("nothing twice", CLAIMED, poll(), 200, body=IDLE),
    Row("cancelled work is not handed out", [*QUEUED, cancel()], poll(), 200, body=IDLE),
    Row("nor expired work", QUEUED, at(480, poll()), 200, body=IDLE,
        then={"queued": -1, "ended": 1}),
    Row("expired head, live tail", [*QUEUED, later(20), submit("r2")], at(460, poll()), 200,
        then={"queued": -2, "claimed": 1, "ended": 1}, body={"request_id": "r2"}),
    Row("work of another node", QUEUED, poll(OTHER_NODE), 404, message=GONE_NODE),
    Row("unknown node", [], poll(), 404, message=GONE_NODE),
    Row("node that left", [*KNOWN, unregister()], poll(), 404, message=GONE_NODE),
    Row("node silent past its lease, before the timer looks", KNOWN, at(31, poll()), 200,
        body=IDLE),
    Row("without key", [], poll(None), 400, message=NO_NODE_KEY),
    Row("key that is a list", [], poll([NODE]), 400, message=BAD_KEY),
    Row("bad capabilities", KNOWN, poll(capabilities=7), 400, CAPABILITIES,
        "capabilities must be an object"),
    Row("with the right credential", QUEUED, with_credential("servers/poll"), 200,
        then={"queued": -1, "claimed": 1}),
    Row("with a wrong credential", QUEUED, poll(control_credential="x"), 403, message=WRONG),
    Row("credential of a wrong type", QUEUED, poll(control_credential=["x"]), 400,
        message="control_credential must be a string"),
    Row("never confirmed, past its lease: again, first in line",
        [*CLAIMED, submit("r2"), later(30)], poll(), 200, then={"queued": -1, "claimed": 1},
        body={"request_id": "r1"}),
    Row("confirmed, past its lease: not again", [*CLAIMED, control(), later(31)], poll(), 200,
        body=IDLE),
]  # fmt: skip

CONTROL = [
    Row("active", [*CLAIMED, later(1)], control(), 200, body={
        "status": "active", "next_poll_seconds": 1.0,
        "request_deadline_remaining_seconds": 479.0, "request_ttl_seconds": 479.0}),
    Row("active past its accounting lease", [*CLAIMED, control(), later(100)], control(), 200,
        body={"status": "active", "request_ttl_seconds": 380.0}),
    Row("put back, but it has it after all", [*CLAIMED, later(30)], control(), 200,
        then={"queued": -1, "claimed": 1}, body={"status": "active"}),
    Row("never handed out", QUEUED, control(), 200, body={"status": "completed/unavailable"}),
    Row("unknown id", KNOWN, control("r9"), 200, body={
        "status": "completed/unavailable", "request_ttl_seconds": "absent"}),
    Row("answered", ANSWERED, control(), 200, body={"status": "completed/unavailable"}),
    Row("work of another node", [*CLAIMED, register(OTHER_NODE)],
        lambda relay: relay.control(key=OTHER_NODE), 200, body={"status": "completed/unavailable"}),
    Row("cancelled", [*CLAIMED, cancel()], control(), 200,
        body={"status": "cancelled", "request_ttl_seconds": 480.0}),
    Row("cancelled, acknowledged", [*CLAIMED, cancel()], control(acknowledge=True), 200,
        then={"tombstones": -1}, body={"status": "cancelled"}),
    Row("cancelled, acknowledged in short", [*CLAIMED, cancel()], control(ack=True), 200,
        then={"tombstones": -1}, body={"status": "cancelled"}),
    Row("acknowledge must be true", [*CLAIMED, cancel()], control(acknowledge=1), 200,
        body={"status": "cancelled"}),
    Row("after the acknowledgement", [*CLAIMED, cancel(), control(acknowledge=True)], control(),
        200, body={"status": "completed/unavailable"}),
    Row("a minute after the cancel", [*CLAIMED, cancel(), later(30), poll(), later(30)],
        control(), 200,
        body={"status": "completed/unavailable"}),
    Row("expired", [*CLAIMED, later(480)], control(), 200,
        body={"status": "expired", "request_ttl_seconds": 0.0}),
    Row("in the moment of its deadline", [*CLAIMED, control()], at(480, control()), 200,
        then={"claimed": -1, "ended": 1, "tombstones": 1}, body={"status": "expired"}),
    Row("node left: the old credential learns why", [*CLAIMED, *restart()], with_old(), 200,
        body={"status": "cancelled"}),
    Row("node left: the new credential does not", [*CLAIMED, *restart()], control(), 200,
        body={"status": "completed/unavailable"}),
    Row("old credential for other work", [*CLAIMED, *restart()], with_old("r2"), 403,
        message=WRONG),
    Row("wrong credential", CLAIMED, control(control_credential="x"), 403, message=WRONG),
    Row("no credential", CLAIMED, control(control_credential=...), 403, message=WRONG),
    Row("empty credential", CLAIMED, control(control_credential=""), 403, message=WRONG),
    Row("unknown node", [], control(control_credential="x"), 403, message=WRONG),
    Row("without id", CLAIMED, control(...), 400, message=INVALID),
    Row("empty id", CLAIMED, control(""), 400, message=INVALID),
    Row("without node key", CLAIMED, control(server_public_key=...), 400, message=INVALID),
    Row("id that is an object", CLAIMED, control({}), 400, message="request_id must be a string"),
]  # fmt: skip

RESPONSES = [
    Row("first", CLAIMED, respond(), 200, then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("as real nodes send it", CLAIMED, respond(ciphertext=..., chat_history="s"), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("with a cancel token, as the rules allow", CLAIMED, respond(cancel_token="x"), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("second", ANSWERED, respond(), 200, body=TWICE),
    Row("still queued", QUEUED, respond(), 200, then={"queued": -1, "unread": 1}, body=RECEIVED),
    Row("put back, but it had it", [*CLAIMED, later(30)], respond(), 200,
        then={"queued": -1, "unread": 1}, body=RECEIVED),
    Row("thinks for seven minutes without a word", [*CLAIMED, later(420)], respond(), 200,
        then={"queued": -1, "unread": 1}, body=RECEIVED),
    Row("read already", [*ANSWERED, retrieve()], respond(), 410, "completed", NOT_WAITING),
    Row("read already and not kept", [*ANSWERED, retrieve(), later(301)], respond(), 410, "gone",
        NOT_WAITING),
    Row("cancelled", [*CLAIMED, cancel()], respond(), 410, "cancelled", NOT_WAITING),
    Row("expired", [*CLAIMED, later(480)], respond(), 410, "expired", NOT_WAITING),
    Row("in the moment of its deadline", CLAIMED, at(480, respond()), 410, "expired", NOT_WAITING,
        then={"claimed": -1, "ended": 1, "tombstones": 1}),
    Row("node left", [*CLAIMED, unregister()], respond(), 410, "cancelled", NOT_WAITING),
    Row("unknown id", KNOWN, respond("r9"), 410, "gone", NOT_WAITING),
    Row("id of another client", CLAIMED, respond(client_public_key=OTHER_CLIENT), 410, "gone",
        NOT_WAITING),
    Row("without id, for work without id", [*KNOWN, submit(None), poll()], respond(...), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("without id, nothing without id waits", CLAIMED, respond(...), 410, "gone", NOT_WAITING),
    Row("empty id is none", [*KNOWN, submit(None), poll()], respond(""), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("with the right credential", CLAIMED, with_credential("responses"), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("with a wrong credential", CLAIMED, respond(control_credential="x"), 403, message=WRONG),
    Row("with another node's credential", [*CLAIMED, register(OTHER_NODE)],
        lambda relay: respond(control_credential=relay.credentials[OTHER_NODE])(relay), 403,
        message=WRONG),
    *(Row(f"plaintext {name}", CLAIMED, respond(**{name: "hello"}), 400,
          message="Plaintext relay payload fields are forbidden; send ciphertext envelope only")
      for name in ("messages", "content", "response")),
    *(Row(f"unexpected {name}", CLAIMED, respond(**{name: "x"}), 400,
          message="Unexpected relay payload fields are forbidden; send ciphertext envelope only")
      for name in ("server_public_key", "stream")),
    *(Row(f"without {name}", CLAIMED, respond(**{name: ...}), 400, message=INVALID)
      for name in ("ciphertext", "cipherkey", "iv")),
    Row("without client key", CLAIMED, respond(client_public_key=...), 400,
        message="Missing client public key"),
    Row("client key that is an object", CLAIMED, respond(client_public_key={"a": 1}), 400,
        message="Missing client public key"),
    Row("id that is a number", CLAIMED, respond(7), 400, message="request_id must be a string"),
]  # fmt: skip


def leave(key: object = NODE, credential: object = ...) -> Step:
    body = {"server_public_key": key, "control_credential": credential}
    sent = {name: value for name, value in body.items() if value is not ...}
    return lambda relay: relay.post("servers/unregister", sent)


UNREGISTER = [
    Row("alone", KNOWN, unregister(), 200, then={"nodes": -1},
        body={"message": "Server unregistered", "removed": True}),
    Row("with queued work", QUEUED, unregister(), 200,
        then={"nodes": -1, "queued": -1, "ended": 1}, body={"removed": True}),
    Row("with work in hand", CLAIMED, unregister(), 200,
        then={"nodes": -1, "claimed": -1, "ended": 1, "tombstones": 1}, body={"removed": True}),
    Row("with an answer that waits", ANSWERED, unregister(), 200, then={"nodes": -1},
        body={"removed": True}),
    Row("again", [*KNOWN, unregister()], leave(), 200, body={"removed": False}),
    Row("unknown, without credential", [], leave(), 200, body={"removed": False}),
    Row("without credential", KNOWN, leave(), 403, message=WRONG),
    Row("wrong credential", KNOWN, leave(credential="x"), 403, message=WRONG),
    Row("credential of a wrong type", KNOWN, leave(credential=1), 400,
        message="control_credential must be a string"),
    *(Row(f"key {key!r}", KNOWN, leave(key), 400, message=BAD_KEY)
      for key in (..., "", "  ", 5, None, [NODE])),
    Row("by its old address", KNOWN,
        lambda relay: relay.call("POST", "/unregister", {
            "server_public_key": NODE, "control_credential": relay.credentials[NODE]}),
        200, then={"nodes": -1}, body={"message": "Server unregistered", "removed": True}),
    Row("by its old address, without credential", KNOWN,
        lambda relay: relay.call("POST", "/unregister", {"server_public_key": NODE}), 403,
        message=WRONG),
]  # fmt: skip


@pytest.mark.parametrize("row", REGISTER, ids=lambda row: row.name)
async def test_register(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", POLL, ids=lambda row: row.name)
async def test_poll(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", CONTROL, ids=lambda row: row.name)
async def test_control(row: Row) -> None:
    async with inside(poll_wait=0.3) as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: row.name)
async def test_responses(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


@pytest.mark.parametrize("row", UNREGISTER, ids=lambda row: row.name)
async def test_unregister(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


async def test_credential_is_given_once_and_kept_as_a_digest() -> None:
    async with inside() as relay:
        first = await relay.register()
        credential = first.body["control_credential"]
        assert len(credential) == 43
        assert "control_credential" not in (await relay.register()).body
        assert credential not in repr(relay.state.nodes[NODE])
        await relay.unregister()
        again = await relay.register()
        assert again.body["control_credential"] != credential


async def test_capabilities_stay_at_a_poll_and_fall_back_at_a_bare_renewal() -> None:
    async with inside() as relay:
        await relay.register(max_concurrency=4)
        await relay.poll()
        assert relay.state.nodes[NODE].capabilities.concurrency == 4
        await relay.poll(capabilities={"supported_model_ids": ["a", " A ", "b"]})
        assert relay.state.nodes[NODE].capabilities.models == ("a", "b")
        await register()(relay)
        assert relay.state.nodes[NODE].capabilities.models == ()


async def test_410_for_a_late_answer_names_the_status() -> None:
    async with inside() as relay:
        for step in (*CLAIMED, cancel()):
            await step(relay)
        error = (await relay.respond()).error
        assert error["status"] == error["code"] == "cancelled"


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"poll_wait": 10.0}, 2.0),
        ({"poll_wait": 0.3}, 1.0),
        ({"poll_wait": 10.0, "control_hint": 10.0, "in_flight_lease": 12.0}, 6.0),
        ({"poll_wait": 10.0, "control_hint": 10.0}, 10.0),
    ],
)
async def test_pause_between_control_calls(settings: Json, hint: float) -> None:
    async with inside(**settings) as relay:
        for step in CLAIMED:
            await step(relay)
        assert (await relay.control()).body["next_poll_seconds"] == hint


async def test_node_at_work_stays_registered_until_the_deadline_of_its_work() -> None:
    """`server.py` may think longer than its lease; it comes back with the answer."""
    async with inside() as relay:
        for step in CLAIMED:
            await step(relay)
        relay.advance(300)
        assert (await relay.poll()).status == 200
        relay.advance(181)
        assert relay.counts()["nodes"] == 0


async def test_what_is_queued_for_a_silent_node_is_given_up_after_the_grace() -> None:
    async with inside() as relay:
        for step in (*CLAIMED, control(), submit("r2")):
            await step(relay)
        relay.advance(60)
        assert relay.counts()["queued"] == 1
        relay.advance(1)
        assert relay.counts()["queued"] == 0
        assert (await relay.retrieve("r2")).error["reason"] == "server_unregistered"
        assert (await relay.submit("r3")).status == 404, "nobody is sent to it meanwhile"
        assert (await relay.respond()).status == 200, "what it was given may still come"


async def test_old_credential_does_not_keep_a_new_node_alive() -> None:
    async with inside() as relay:
        for step in (*CLAIMED, *restart()):
            await step(relay)
        relay.clock.now += 20
        await with_old()(relay)
        relay.advance(11)
        assert relay.counts()["nodes"] == 0
