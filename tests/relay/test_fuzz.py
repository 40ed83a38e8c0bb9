"""Fuzzing of every JSON entry through a real socket: never a 500, always JSON of the one shape."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenplace_harness.openapi import Contract
from tokenplace_harness.process import RelayProcess, relay_process

CONTRACT = Contract()
ENTRIES = sorted({path for method, path, _ in CONTRACT.operations() if method == "POST"})
SETTINGS = {
    "API_RATE_LIMIT": "off",
    "API_DAILY_QUOTA": "off",
    "API_RELAY_CONTROL_PLANE_RATE_LIMIT": "off",
    "API_RELAY_CONTROL_PLANE_IP_RATE_LIMIT": "off",
    "TOKEN_PLACE_OPERATOR_TOKEN": "operator-token",
    "TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": "0.01",
}
HEADERS = {"X-Token-Place-Operator": "operator-token"}
# One body with every field that any entry reads, in the shape that is right.
RIGHT: dict[str, Any] = {
    "server_public_key": "node",
    "client_public_key": "client",
    "capabilities": {
        "api_version": "v1", "supported_model_ids": ["qwen3-8b-instruct"],
        "active_context_tier": "8k-fast", "maximum_total_context_tokens": 8192,
        "default_output_token_reservation": 1024, "maximum_output_tokens": 8192,
        "max_concurrency": 1, "backend_class": "cpu",
    },
    "control_credential": "c", "request_id": "r", "cancel_token": "t", "acknowledge": True,
    "status": "cancelled", "reason": "cancelled", "protocol": "tokenplace_api_v1_relay_e2ee",
    "version": 1, "ciphertext": "a", "chat_history": "a", "cipherkey": "b", "iv": "c",
    "model": "qwen3-8b-instruct", "messages": [{"role": "user", "content": "hi", "name": "n"}],
    "prompt": "hi", "stream": False, "n": 1, "temperature": 1, "top_p": 1, "max_tokens": 5,
    "seed": 1, "stop": "s", "metadata": {}, "encrypted": False,
}  # fmt: skip

LIMITS = settings(
    max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
texts = st.text(max_size=40) | st.sampled_from(["", " ", "\x00", "8k-fast", "v1", "x" * 300])
numbers = (
    st.integers()
    | st.sampled_from([2**63, 2**64, -(2**63), 10**400, -1, 0])
    | st.floats(allow_nan=True, allow_infinity=True)
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(sorted(RIGHT)) | texts, inner, max_size=6)
    ),
    max_leaves=20,
)
fields = st.sampled_from(sorted(RIGHT))


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """A right body with some fields gone and some with another value, deep inside, too."""
    body = {name: RIGHT[name] for name in RIGHT if draw(st.booleans())}
    for name in draw(st.lists(fields, max_size=3)):
        body[name] = draw(values)
    inner = draw(st.sampled_from(sorted(RIGHT["capabilities"])))
    if draw(st.booleans()):
        body["capabilities"] = {**RIGHT["capabilities"], inner: draw(values)}
    return body


def encoded(value: object) -> bytes:
    """JSON as Python's encoder writes it: NaN, Infinity and lone surrogates included."""
    return json.dumps(value).encode()


RAW = [
    b"", b" ", b"null", b"{", b"[]", b'"text"', b"5", b"tru", b"\xff\xfe", b"\x00", b"{}}",
    b'{"a":1,}', b"NaN", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b"{}" * 2,
    b'{"a":' + b"9" * 5000 + b"}", b'{"n":' + b"9" * 400 + b"}",
    b'{"a":"\\ud800"}', b'{"\\udfff":1}', b'{"client_public_key":"\\ud800"}',
    b"[" * 100_000, b'{"a":' * 20_000, b'{"messages":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"server_public_key":"\\u0000","server_public_key":"twice"}', b"\xef\xbb\xbf{}",
    b'{"a":"' + b"x" * 70_000 + b'"}',
]  # fmt: skip
bodies = (
    changed().map(encoded) | values.map(encoded) | st.sampled_from(RAW) | st.binary(max_size=60)
)


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with relay_process(**SETTINGS) as process:
        yield process
        assert [line for line in process.logs if line["message"] == "handler failed"] == []


@pytest.mark.parametrize("path", ENTRIES)
def test_no_body_breaks_an_entry(relay: RelayProcess, path: str) -> None:
    with closing(http.client.HTTPConnection(urlsplit(relay.url).netloc, timeout=60)) as connection:

        def send(body: bytes) -> None:
            headers = {**HEADERS, "Content-Type": "application/json"}
            connection.request("POST", path.replace("{path}", "x"), body, headers)
            check(connection.getresponse(), path)

        for raw in RAW:
            send(raw)
        LIMITS(given(bodies)(send))()


def check(response: http.client.HTTPResponse, path: str) -> None:
    text = response.read()
    assert response.status != 500, text
    assert response.getheader("X-Request-Id")
    kind = response.getheader("Content-Type", "").partition(";")[0]
    body = json.loads(text)
    assert CONTRACT.problems("POST", path, response.status, kind, body) == [], body
    if response.status >= 400:
        assert isinstance(body["error"]["message"], str)
        assert isinstance(body["error"]["code"], str | int)
        assert not isinstance(body["error"]["code"], bool)


@LIMITS
@given(model=texts, tier=texts, name=texts)
def test_no_query_breaks_the_selection(
    relay: RelayProcess, model: str, tier: str, name: str
) -> None:
    address = urlsplit(relay.url).netloc
    query = f"model={quote(model)}&context_tier={quote(tier)}&{quote(name)}={quote(name)}"
    with closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request("GET", f"/api/v1/relay/servers/next?{query}")
        response = connection.getresponse()
        assert response.status in {200, 400, 503}
        response.read()
        connection.request("GET", f"/v1/models/{quote(model, safe='')}")
        assert connection.getresponse().status in {200, 404}
