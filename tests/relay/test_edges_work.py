"""Edge cases of a node's work: claim it, ask about it, answer it."""

import pytest

from tokenplace_harness.inside import (
    CLIENT,
    NODE,
    OTHER_CLIENT,
    OTHER_NODE,
    Answer,
    Inside,
    Json,
    inside,
)
from tokenplace_harness.steps import (
    ANSWERED,
    CLAIMED,
    KNOWN,
    QUEUED,
    at,
    cancel,
    control,
    poll,
    register,
    respond,
    restart,
    retrieve,
    submit,
    unregister,
    with_credential,
    with_old,
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


def claimed_answer(**changes: object) -> Step:
    """An answer that also has the fields of its node and claim."""

    async def answer(relay: Inside) -> Answer:
        said = {"server_public_key": NODE, "control_credential": relay.credentials[NODE],
                "consumer_identity": "worker-1", "claim_generation": 1, **changes}  # fmt: skip
        return await respond(**said)(relay)

    return answer


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
    Row("is told which claim it is when it proves itself", [*CLAIMED, later(30)],
        with_credential("servers/poll"), 200, then={"queued": -1, "claimed": 1},
        body={"claim_generation": 2}),
    Row("with a wrong credential", QUEUED, poll(control_credential="x"), 403, message=WRONG),
    Row("credential of a wrong type", QUEUED, poll(control_credential=["x"]), 400,
        message="control_credential must be a string"),
    Row("never confirmed, past its lease: again, first in line",
        [*CLAIMED, submit("r2"), later(30)], poll(), 200, then={"queued": -1, "claimed": 1},
        body={"request_id": "r1"}),
    Row("taken twice and never confirmed: who cannot prove itself must register anew",
        [*CLAIMED, later(30), poll(), later(30)], poll(), 404, message=GONE_NODE,
        then={"nodes": -1, "queued": -1, "ended": 1, "tombstones": 1}),
    Row("taken twice, confirmed late: it can", [*CLAIMED, later(30), poll(), later(30), control()],
        poll(), 200, body=IDLE),
    Row("taken twice without a word, by a node that asks about other work: it alone ends",
        [*QUEUED, submit("r2"), poll(), poll(), control("r2"), later(30), poll(), control("r2"),
         later(30)], poll(), 200, then={"queued": -1, "ended": 1, "tombstones": 1}, body=IDLE),
    Row("taken twice without a word, after it registered without its credential",
        [*QUEUED, submit("r2"), poll(), poll(), control("r2"), register(), later(30), poll(),
         later(30)], poll(), 404, message=GONE_NODE,
        then={"nodes": -1, "queued": -1, "claimed": -1, "ended": 2, "tombstones": 2}),
    Row("of two clients that chose the same id: both are renewed",
        [*KNOWN, submit(), submit(client_public_key=OTHER_CLIENT), poll(), poll(), control(),
         later(30), control()], poll(), 200, body=IDLE),
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
    Row("a minute after the cancel", [*CLAIMED, cancel(), later(30), register(), later(30)],
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
    Row("as nodes of later releases send it", CLAIMED, claimed_answer(), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("the same with a wrong credential", CLAIMED, claimed_answer(control_credential="x"), 403,
        message=WRONG),
    Row("an error answer of a later node that has lost its credential", CLAIMED,
        respond(server_public_key=NODE, control_credential="", claim_generation=None), 200,
        then={"claimed": -1, "unread": 1}, body=RECEIVED),
    Row("a claim without a credential", CLAIMED, respond(claim_generation=1), 400,
        message="Unexpected relay payload fields are forbidden; send ciphertext envelope only"),
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


async def test_busy_node_stays_registered_until_the_deadline_of_its_request() -> None:
    """`server.py` may think longer than its lease; it comes back with the answer."""
    async with inside() as relay:
        for step in CLAIMED:
            await step(relay)
        await relay.advance(300)
        assert (await relay.poll()).status == 200
        await relay.advance(181)
        assert (await relay.counts())["nodes"] == 0


async def test_what_is_queued_for_a_silent_node_is_given_up_after_the_grace() -> None:
    async with inside() as relay:
        for step in (*CLAIMED, control(), submit("r2")):
            await step(relay)
        await relay.advance(60)
        assert (await relay.counts())["queued"] == 1
        await relay.advance(1)
        assert (await relay.counts())["queued"] == 0
        assert (await relay.retrieve("r2")).error["reason"] == "server_unregistered"
        assert (await relay.submit("r3")).status == 404, "nobody is sent to it meanwhile"
        assert (await relay.respond()).status == 200, "what it was given may still come"


async def test_the_client_of_a_node_that_died_is_notified_long_before_its_deadline() -> None:
    """Nodes ask about their work every few seconds; one that did, and no longer does, is dead."""
    async with inside() as relay:
        for step in (*CLAIMED, control()):
            await step(relay)
        await relay.advance(120)
        assert (await relay.retrieve()).status == 202
        await relay.advance(1)
        assert (await relay.counts())["nodes"] == 0
        gone = await relay.retrieve()
        assert (gone.status, gone.error["reason"]) == (410, "server_unregistered")


async def test_old_credential_does_not_keep_a_new_node_alive() -> None:
    async with inside() as relay:
        for step in (*CLAIMED, *restart()):
            await step(relay)
        relay.clock.now += 20
        await with_old()(relay)
        await relay.advance(11)
        assert (await relay.counts())["nodes"] == 0
