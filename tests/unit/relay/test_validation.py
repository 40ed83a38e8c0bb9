"""Envelopes are flat: what nests is refused before it takes memory, with the usual words."""

import json
import tracemalloc

import pytest

from tokenplace_relay.api import validation
from tokenplace_relay.server.response import ApiError
from tokenplace_relay.settings.config import Config

SEALED = {"client_public_key": "c", "server_public_key": "s", "ciphertext": "x", "cipherkey": "k"}
INVALID = "Invalid request data"


def refusal(raw: bytes) -> str:
    with pytest.raises(ApiError) as found:
        validation.request_envelope(validation.flat(raw)[0], Config())
    assert found.value.status == 400
    return str(found.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"iv": 5}, INVALID),
        ({"iv": [[]]}, INVALID),
        ({"iv": "i", "version": {}}, INVALID),
        ({"iv": [], "messages": [{}]}, "Plaintext"),
        ({"iv": [], "prompt": None}, "Plaintext"),
        ({"stream": [[]]}, "Unexpected"),
    ],
)
def test_what_is_wrong(more: dict[str, object], message: str) -> None:
    assert refusal(json.dumps({**SEALED, **more}).encode()).startswith(message)


def test_nested_json_makes_no_objects() -> None:
    raw = b'{"client_public_key":"c","iv":[%s[]]}' % (b"[]," * 300_000)
    tracemalloc.start()
    try:
        assert refusal(raw) == INVALID
        assert tracemalloc.get_traced_memory()[1] < 3 * len(raw)
    finally:
        tracemalloc.stop()


def test_weight_of_a_text_is_that_of_its_widest_character() -> None:
    narrow, wide = (json.dumps({"iv": "x" * 1000 + last}).encode() for last in "x\U0001f511")
    assert validation.flat(narrow)[1] == len(narrow)
    assert validation.flat(wide)[1] > 4000
