"""Bytes outside of JSON strings are counted correctly, and quickly."""

from dataclasses import asdict
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenplace_harness.inside import MODEL, inside
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.envelope import EnvelopeError, Identity
from tokenplace_relay.protocol.nesting import is_sparse

CHAT = "/v1/chat/completions"
MANY = 70_000


def outside(raw: bytes) -> int:
    """The same, a byte at a time."""
    count, is_text, is_escaped = 0, False, False
    for byte in raw:
        if is_escaped:
            is_escaped = False
        elif is_text and byte == ord("\\"):
            is_escaped = True
        elif byte == ord('"'):
            is_text = not is_text
            count += is_text
        elif not is_text:
            count += 1
    return count


@given(st.lists(st.sampled_from([b'"', b"\\", b"[", b"a"]), max_size=40).map(b"".join))
def test_bytes_outside_of_texts_are_counted(raw: bytes) -> None:
    found = outside(raw)
    # A body within the limit is not scanned.
    for most in range(len(raw)):
        assert is_sparse(raw, most) == (found <= most), (raw, most)


@pytest.mark.parametrize(
    "raw",
    [
        b'"' + b'\\"' * 2_000_000,
        b'"' + b'\\"' * 2_000_000 + b"\\",
        b'"' * 4_000_000,
        b'"a",' * 1_000_000,
        b"[" * 4_000_000,
    ],
    ids=["no end", "no end, escaped", "quotes", "texts", "lists"],
)
def test_no_bytes_are_read_often(raw: bytes) -> None:
    # The timeout of a test is the limit: rescanned from each quote, they would take hours.
    assert is_sparse(raw) == (outside(raw[:200_000]) < 100)


@pytest.mark.parametrize(
    "nested",
    [[[]] * MANY, [{}] * MANY, ["ab"] * MANY, [0] * MANY],
    ids=["lists", "objects", "texts", "numbers"],
)
async def test_facade_refuses_what_nests(nested: list[Any]) -> None:
    async with inside(facade=True) as relay:
        for name in ("messages", "metadata", "tools"):
            answer = await relay.call("POST", CHAT, {"model": MODEL, name: nested})
            assert answer.status == 413
            assert answer.body["error"]["message"] == (
                "Request body has more than 65536 bytes outside of its texts"
            )


def test_sealed_messages_may_not_nest_either() -> None:
    identity = Identity.create()
    few: list[Any] = [{"role": "user", "content": "[" * MANY}]
    assert identity.open_as(sealed(few, identity), list[object]) == few
    with pytest.raises(EnvelopeError, match="nested too deeply"):
        identity.open_as(sealed([[]] * MANY, identity), list[object])


@pytest.mark.parametrize(("most", "code"), [(4096, "encryption_error"), (65536, "invalid_value")])
async def test_what_is_sealed_to_the_facade_has_the_bound_of_its_calls(
    most: int, code: str
) -> None:
    async with inside(facade=True, max_body_bytes=most) as relay:
        key = (await relay.call("GET", "/v1/public-key")).body["public_key"]
        lists = envelope.seal(cast("envelope.Inner", [[]] * 5000), key)
        call = {"model": MODEL, "encrypted": True, "messages": asdict(lists)}
        caller = Identity.create().public
        answer = await relay.call("POST", CHAT, {**call, "client_public_key": caller})
        assert answer.body["error"]["code"] == code, answer.body


def sealed(what: list[Any], identity: Identity) -> envelope.Sealed:
    return envelope.seal(cast("envelope.Inner", what), identity.public)
