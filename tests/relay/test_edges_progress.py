"""Encrypted progress: its checks in their order; only the newest report of a request is kept."""

import json
from collections.abc import AsyncIterator

import pytest

from tokenplace_harness.inside import CLIENT, NODE, OTHER_CLIENT, RELAY, SEALED, Inside, inside
from tokenplace_harness.steps import (
    ANSWERED,
    CLAIMED,
    KNOWN,
    QUEUED,
    at,
    cancel,
    control,
    register,
    respond,
    retrieve,
    unregister,
)
from tokenplace_harness.table import Row, Step, later, play

SCHEMA = "Invalid encrypted progress schema"
PROTOCOL = "Invalid encrypted progress protocol"
ENVELOPE = "Invalid encrypted progress envelope"
TOO_LARGE = "Progress envelope too large"
WRONG = "Missing or invalid relay server control credential"
NOT_ACTIVE = "Progress request is not active for this owner"
TOO_LATE = "Progress request has expired"
ACCEPTED = {"message": "Encrypted progress accepted"}


def usual(relay: Inside) -> dict[str, object]:
    return {
        "server_public_key": NODE,
        "client_public_key": CLIENT,
        "request_id": "r1",
        "control_credential": relay.credentials.get(NODE, "none"),
        "protocol": "tokenplace_api_v1_relay_e2ee",
        "version": 1,
        **SEALED,
    }


def progress(**changes: object) -> Step:
    """The usual call with changes; ... leaves a field out."""
    return lambda relay: relay.post(
        "progress",
        {name: value for name, value in {**usual(relay), **changes}.items() if value is not ...},
    )


def raw(content: bytes) -> Step:
    return lambda relay: relay.call("POST", f"{RELAY}/progress", raw=content)


FIELDS = ("server_public_key", "client_public_key", "request_id", "control_credential")
PROGRESS = [
    Row("first", CLAIMED, progress(), 202, then={"progress": 1}, body=ACCEPTED),
    Row("newer", [*CLAIMED, progress()], progress(ciphertext="newer"), 202, body=ACCEPTED),
    Row("after it was read", [*CLAIMED, progress(), retrieve()], progress(), 202,
        then={"progress": 1}, body=ACCEPTED),
    Row("at the very size", CLAIMED, progress(ciphertext="x" * 15900), 202, then={"progress": 1}),
    Row("too large", CLAIMED, progress(ciphertext="x" * 16384), 413, message=TOO_LARGE),
    Row("too large, though it is no JSON and nobody's", [], raw(b"x" * 16385), 413,
        message=TOO_LARGE),
    Row("no JSON", CLAIMED, raw(b"{"), 400, message=SCHEMA),
    Row("no UTF-8", CLAIMED, raw(b'"\xff"'), 400, message=SCHEMA),
    *(Row(f"{text!r}", CLAIMED, raw(text), 400, message=SCHEMA)
      for text in (b"[]", b"null", b"1", b'"x"', b"{}", b"[" * 9000)),
    *(Row(f"without {name}", CLAIMED, progress(**{name: ...}), 400, message=SCHEMA)
      for name in (*FIELDS, "protocol", "version", "ciphertext", "cipherkey", "iv")),
    Row("with its claim, as later nodes say it", CLAIMED,
        progress(consumer_identity="w", claim_generation=1), 202, then={"progress": 1}),
    Row("with more", CLAIMED, progress(cancel_token="x"), 400, message=SCHEMA),
    Row("with chat_history", CLAIMED, progress(chat_history="x"), 400, message=SCHEMA),
    *(Row(f"{name} {value!r}", CLAIMED, progress(**{name: value}), 400, message=SCHEMA)
      for name in FIELDS for value in ("", " ", 1, None, {"a": 1})),
    *(Row(f"version {value!r}", CLAIMED, progress(version=value), 400, message=PROTOCOL)
      for value in (True, 2, 0, "1", None, [1])),
    *(Row(f"protocol {value!r}", CLAIMED, progress(protocol=value), 400, message=PROTOCOL)
      for value in ("", "other", None, 1)),
    *(Row(f"{name} {value!r}", CLAIMED, progress(**{name: value}), 400, message=ENVELOPE)
      for name in ("ciphertext", "cipherkey", "iv") for value in ("", 1, None, ["x"])),
    Row("wrong credential", CLAIMED, progress(control_credential="x"), 403, message=WRONG),
    Row("unknown node", CLAIMED, progress(server_public_key="nobody"), 403, message=WRONG),
    Row("node that left", [*CLAIMED, unregister()], progress(), 403, message=WRONG),
    Row("still queued", QUEUED, progress(), 410, message=NOT_ACTIVE),
    Row("unknown id", CLAIMED, progress(request_id="r9"), 410, message=NOT_ACTIVE),
    Row("id of another client", CLAIMED, progress(client_public_key=OTHER_CLIENT), 410,
        message=NOT_ACTIVE),
    Row("nothing at all", KNOWN, progress(), 410, message=NOT_ACTIVE),
    Row("answered", ANSWERED, progress(), 410, message=NOT_ACTIVE),
    Row("cancelled", [*CLAIMED, cancel()], progress(), 410, message=NOT_ACTIVE),
    Row("expired", [*CLAIMED, later(479), register(), later(1)], progress(), 410,
        message=NOT_ACTIVE),
    Row("in the moment of its deadline", CLAIMED, at(480, progress()), 410, message=TOO_LATE,
        then={"claimed": -1, "ended": 1, "tombstones": 1}),
    Row("ends with the answer", [*CLAIMED, progress()], respond(), 200,
        then={"claimed": -1, "unread": 1, "progress": -1}),
    Row("ends with the deadline", [*CLAIMED, progress()], at(480, retrieve()), 410,
        "expired", "Request expired",
        then={"claimed": -1, "ended": 1, "tombstones": 1, "progress": -1}),
    Row("ends with its node", [*CLAIMED, progress()], unregister(), 200,
        then={"claimed": -1, "ended": 1, "tombstones": 1, "progress": -1, "nodes": -1}),
    Row("is no sign of life", [*CLAIMED, control(), later(29), progress(), later(2)],
        lambda relay: relay.call("GET", f"{RELAY}/servers/next"), 503,
        "no_matching_compute_node", "No compute node serves this model and context tier."),
]  # fmt: skip


@pytest.mark.parametrize("row", PROGRESS, ids=lambda row: row.name)
async def test_progress(row: Row) -> None:
    async with inside() as relay:
        await play(relay, row)


async def test_client_gets_the_newest_once() -> None:
    async with inside() as relay:
        for step in (*CLAIMED, progress(ciphertext="first"), progress(ciphertext="second")):
            await step(relay)
        answer = await relay.retrieve()
        assert answer.body["encrypted_progress"] == {
            "client_public_key": CLIENT,
            "request_id": "r1",
            "protocol": "tokenplace_api_v1_relay_e2ee",
            "version": 1,
            **SEALED,
            "ciphertext": "second",
        }
        assert "encrypted_progress" not in (await relay.retrieve()).body
        assert (await relay.state.totals()).progress_bytes == 0


async def test_chunked_body_is_bounded_before_it_is_whole() -> None:
    async with inside() as relay:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 4096
                yield b" " * 4096

        async with relay.http.post(
            f"{relay.url}{RELAY}/progress",
            data=endless(),
            headers={"Content-Type": "application/json"},
        ) as response:
            assert response.status == 413
            assert json.loads(await response.read())["error"]["message"] == TOO_LARGE
        assert relay.context.reading.held == 0


async def test_progress_that_is_not_read_is_bounded_in_all() -> None:
    async with inside(max_progress_bytes=20_000) as relay:
        await relay.register()
        for name in ("r1", "r2"):
            await relay.submit(name)
            await relay.poll()
        assert (await relay.progress("r1", ciphertext="x" * 12_000)).status == 202
        full = await relay.progress("r2", ciphertext="x" * 12_000)
        assert (full.status, full.error["code"]) == (503, "relay_full")
        assert full.headers["Retry-After"]
        assert (await relay.progress("r1", ciphertext="y" * 12_000)).status == 202
        await relay.retrieve("r1")
        assert (await relay.progress("r2", ciphertext="x" * 12_000)).status == 202
