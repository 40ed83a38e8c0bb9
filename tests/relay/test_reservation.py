"""Clients of later token.place releases: they reserve, prove who retrieves, and acknowledge."""

import time

import pytest

from tokenplace_harness.inside import CLIENT, OTHER_CLIENT, RELAY, Answer, Inside, inside

IDENTITY = f"client_public_key={CLIENT}&request_id=r1&cancel_token=t"


async def ask(relay: Inside, credential: str = "", **more: str) -> Answer:
    body = {"client_public_key": CLIENT, "request_id": "r1", **more}
    if credential:
        body["retrieval_credential"] = credential
    return await relay.post("responses/retrieve", body)


@pytest.mark.parametrize(
    "query", ["", "?client_public_key=c", "?request_id=r", "?client_public_key=&request_id="]
)
async def test_nothing_is_reserved_for_who_does_not_say_who_it_is(query: str) -> None:
    async with inside() as relay:
        await relay.register()
        answer = await relay.call("GET", f"{RELAY}/servers/next{query}")
        assert answer.status == 200
        assert not {"reservation_token", "request_deadline_epoch"} & answer.body.keys()


async def test_whole_exchange() -> None:
    async with inside() as relay:
        await relay.register()
        found = (await relay.call("GET", f"{RELAY}/servers/next?{IDENTITY}")).body
        token = found["reservation_token"]
        assert found["request_deadline_epoch"] == pytest.approx(time.time() + 480, abs=20)
        deadline = found["request_deadline_epoch"]
        for _ in range(2):
            sent = await relay.submit(reservation_token=token, request_deadline_epoch=deadline)
            assert (sent.status, sent.body["retrieval_credential"]) == (200, token)
        assert (await ask(relay, token)).status == 202
        work = (await relay.poll()).body
        assert not {"reservation_token", "request_deadline_epoch"} & work.keys()
        await relay.respond()
        first, again = await ask(relay, token), await ask(relay, token)
        assert first.body == again.body
        receipt = first.body["acknowledgement_token"]
        for _ in range(2):
            done = await ask(relay, token, acknowledgement_token=receipt)
            assert (done.status, done.body) == (200, {"status": "acknowledged"})
        assert (await ask(relay, token)).status == 404
        assert (await relay.state.totals()).answer_bytes == 0
        assert (await relay.respond()).error["code"] == "completed"
        assert (await relay.submit(reservation_token=token)).status == 410


async def test_answer_can_be_acknowledged_before_it_was_read_here() -> None:
    """The receipt of a first read counts, though what it read was lost since."""
    async with inside(max_replays=0) as relay:
        await relay.register()
        await relay.submit(reservation_token="token")
        await relay.poll()
        await relay.respond()
        receipt = (await ask(relay, "token")).body["acknowledgement_token"]
        assert (await ask(relay, "token", acknowledgement_token=receipt)).status == 200


async def test_receipt_is_of_one_request_only() -> None:
    async with inside() as relay:
        await relay.register()
        for name in ("r1", "r2"):
            await relay.submit(name, reservation_token="token")
            await relay.poll()
            await relay.respond(name)
        receipt = (await ask(relay, "token")).body["acknowledgement_token"]
        other = await ask(relay, "token", request_id="r2", acknowledgement_token=receipt)
        assert other.status == 403
        assert (await ask(relay, "token", request_id="r2")).status == 200


async def test_what_is_not_answered_cannot_be_acknowledged() -> None:
    async with inside() as relay:
        await relay.register()
        await relay.submit(reservation_token="token")
        await relay.submit(client=OTHER_CLIENT)
        await relay.poll()
        await relay.respond()
        receipt = (await ask(relay, "token")).body["acknowledgement_token"]
        await relay.unregister()
        await relay.advance(301)
        await relay.register()
        await relay.submit(reservation_token="token")
        assert (await ask(relay, "token", acknowledgement_token=receipt)).status == 403
        await relay.cancel()
        ended = await ask(relay, "token", acknowledgement_token=receipt)
        assert (ended.status, ended.error["code"]) == (410, "cancelled")


async def test_credential_is_kept_as_a_digest_and_never_passed_on() -> None:
    async with inside() as relay:
        await relay.register()
        await relay.submit(reservation_token="very-secret")
        assert "very-secret" not in (await relay.state.inspect()).text
        assert "very-secret" not in repr((await relay.poll()).body)
