"""Edge cases of HTTP itself: every error is JSON of one shape, and old routes say what they are."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tokenplace_harness.inside import CLIENT, NODE, RELAY, Answer, Inside, inside

POSTED = [
    f"{RELAY}/requests", f"{RELAY}/requests/cancel", f"{RELAY}/responses",
    f"{RELAY}/responses/retrieve", f"{RELAY}/servers/register", f"{RELAY}/servers/poll",
    f"{RELAY}/servers/control", f"{RELAY}/servers/unregister", "/unregister", f"{RELAY}/progress",
]  # fmt: skip
OF_NODES = [path for path in POSTED if not path.endswith(("requests", "cancel", "retrieve"))]
OPEN = [
    "/api/v1/models", "/api/v1/models/m", "/api/v1/public-key", "/api/v1/chat/completions",
    "/api/v1/completions", "/api/v1/images/generations", "/api/v1/health", "/v1/models",
    "/v1/models/m", "/v1/public-key", "/v1/chat/completions", "/v1/completions", "/v1/health",
    "/v1/images/generations", "/api/v1/community/providers", "/api/v1/server-providers",
    f"{RELAY}/servers/next", f"{RELAY}/requests", f"{RELAY}/requests/cancel",
    f"{RELAY}/responses/retrieve",
]  # fmt: skip
CLOSED = [
    "/", "/livez", "/healthz", "/metrics", "/relay/diagnostics", "/api/v1/meta", "/api/v1/version",
    f"{RELAY}/servers/register", f"{RELAY}/servers/poll", f"{RELAY}/servers/control",
    f"{RELAY}/servers/unregister", f"{RELAY}/responses", f"{RELAY}/progress",
    f"{RELAY}/unregister", "/unregister", "/relay/api/v1/chat/completions",
]  # fmt: skip


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[Inside]:
    async with inside(operator_token="operator", public_rate="off", public_quota="off") as found:
        yield found


def has_one_shape(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"]
    assert {"message", "code"} <= answer.error.keys()
    assert answer.body.keys() == {"error"}


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api/v1/nothing", "/inference", f"{RELAY}/servers/next/", f"{RELAY}/requests/",
     "/livez/", "//livez", f"{RELAY}/Requests", "/api/v1/relay", "/%2e%2e/etc/passwd", "/\u00e9",
     "/a%0Ab"],
)  # fmt: skip
async def test_unknown_path(relay: Inside, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = await relay.call(method, path)
        has_one_shape(answer, 404)
        assert answer.error == {"code": 404, "message": "Not Found"}


@pytest.mark.parametrize("path", POSTED)
async def test_wrong_method(relay: Inside, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await relay.call(method, path)
        has_one_shape(answer, 405)
        assert answer.headers["Allow"] == "POST"


async def test_method_that_does_not_exist(relay: Inside) -> None:
    answer = await relay.call("BREW", "/livez")
    has_one_shape(answer, 400)
    assert answer.error["message"] == "Malformed HTTP request"


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Content-Type": "text/plain"}, "Content-Type must be application/json"),
        ({"Content-Type": "application/x-www-form-urlencoded"},
         "Content-Type must be application/json"),
        ({"Content-Encoding": "gzip"}, "Content-Encoding must be identity"),
    ],
)  # fmt: skip
async def test_wrong_content_type(
    relay: Inside, path: str, headers: dict[str, str], message: str
) -> None:
    answer = await relay.call("POST", path, raw=b"{}", headers=headers)
    has_one_shape(answer, 415)
    assert answer.error["message"] == message


@pytest.mark.parametrize("path", [path for path in POSTED if not path.endswith("progress")])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Request body is not valid JSON"),
        (b"{", "Request body is not valid JSON"),
        (b"{'a': 1}", "Request body is not valid JSON"),
        (b'{"a": NaN}', "Request body is not valid JSON"),
        (b'{"a": "\\ud800"}', "Request body is not valid JSON"),
        (b'{"a": "\xff"}', "Request body is not valid JSON"),
        (b"[" * 30_000, "Request body is not valid JSON"),
        (b"null", "Invalid request data"),
        (b"[]", "Invalid request data"),
        (b'"text"', "Invalid request data"),
        (b"7", "Invalid request data"),
    ],
)
async def test_broken_json(relay: Inside, path: str, raw: bytes, message: str) -> None:
    answer = await relay.call("POST", path, raw=raw)
    has_one_shape(answer, 400)
    assert answer.error == {"code": 400, "message": message}


@pytest.mark.parametrize("path", POSTED)
async def test_body_beyond_its_bound(relay: Inside, path: str) -> None:
    limit = relay.context.config.max_body_bytes
    if path.endswith(("/requests", "/responses")):
        limit = relay.context.config.max_envelope_bytes
    answer = await relay.call("POST", path, raw=b" " * (limit + 1))
    has_one_shape(answer, 413)


async def test_body_of_two_mebibytes_is_carried(relay: Inside) -> None:
    await relay.register()
    sealed = "x" * (2 * 1024 * 1024)
    assert (await relay.submit(ciphertext=sealed)).status == 200
    assert (await relay.poll()).body["chat_history"] == sealed
    assert (await relay.respond(ciphertext=sealed)).status == 200
    assert (await relay.retrieve()).body["chat_history"] == sealed


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_content_type_may_have_a_charset(relay: Inside, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    body = b'{"client_public_key": "a"}'
    answer = await relay.call("POST", f"{RELAY}/responses/retrieve", raw=body, headers=headers)
    assert answer.error["message"] == "No response available for the given public key"


@pytest.mark.parametrize("path", ["/livez", "/healthz", f"{RELAY}/servers/next"])
async def test_head_follows_get(relay: Inside, path: str) -> None:
    answer, full = await relay.call("HEAD", path), await relay.call("GET", path)
    assert (answer.status, answer.body) == (full.status, b"")
    assert answer.headers["Content-Length"] == full.headers["Content-Length"]


@pytest.mark.parametrize("path", CLOSED)
async def test_options_of_a_closed_route_names_its_methods(relay: Inside, path: str) -> None:
    answer = await relay.call("OPTIONS", path)
    assert (answer.status, answer.body) == (200, b"")
    assert "OPTIONS" in answer.headers["Allow"]
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("path", OPEN)
async def test_preflight(relay: Inside, path: str) -> None:
    origin = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = await relay.call("OPTIONS", path, headers=origin)
    assert (answer.status, answer.body) == (204, b"")
    found = {name: value for name, value in answer.headers.items() if name.startswith("Access")}
    assert found == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Content-Type, Accept",
        "Access-Control-Max-Age": "600",
    }


@pytest.mark.parametrize("path", OPEN)
async def test_open_routes_are_open_whatever_the_answer(relay: Inside, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await relay.call(method, path)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Access-Control-Max-Age" not in answer.headers


@pytest.mark.parametrize("path", CLOSED)
async def test_closed_routes_are_closed_whatever_the_answer(relay: Inside, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await relay.call(method, path, headers={"Origin": "https://elsewhere.example"})
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/next_server"), ("POST", "/sink"), ("POST", "/faucet"), ("POST", "/source"),
     ("POST", "/retrieve"), ("POST", "/stream/source"), ("POST", "/stream/retrieve")],
)  # fmt: skip
async def test_legacy_route_is_gone(relay: Inside, method: str, path: str) -> None:
    answer = await relay.call(method, path)
    has_one_shape(answer, 410)
    assert answer.error == {
        "message": f"Legacy relay endpoint '{path}' is deprecated. Use API v1 relay E2EE routes.",
        "code": "legacy_relay_endpoint_deprecated",
        "deprecated": True,
    }


@pytest.mark.parametrize("path", ["/relay/api/v1/chat/completions", "/relay/api/v1/source"])
async def test_distributed_relay_is_disabled(relay: Inside, path: str) -> None:
    answer = await relay.call("POST", path, {})
    has_one_shape(answer, 503)
    assert answer.error["type"] == "service_unavailable_error"
    assert answer.error["code"] == "distributed_api_v1_relay_disabled"


@pytest.mark.parametrize(
    "path", ["/api/v2/models", "/v2/chat/completions", "/api/v2/public-key", "/v2/a%0Ab"]
)
async def test_version_2_is_not_spoken(relay: Inside, path: str) -> None:
    for method in ("GET", "POST"):
        answer = await relay.call(method, path)
        has_one_shape(answer, 404)
        assert answer.error["code"] == "api_version_unsupported"


@pytest.mark.parametrize("root", ["/api/v1", "/v1"])
async def test_images_are_not_made(relay: Inside, root: str) -> None:
    answer = await relay.call("POST", f"{root}/images/generations", {"prompt": "a cat"})
    has_one_shape(answer, 501)
    assert answer.error["code"] == "not_implemented"


@pytest.mark.parametrize(
    ("given", "echoed"),
    [("abc-123._X", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("\u00e9", False)],
)
async def test_request_id_is_echoed_when_it_is_harmless(
    relay: Inside, given: str, *, echoed: bool
) -> None:
    answer = await relay.call("GET", "/livez", headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"] == given) == echoed
    assert len(answer.headers["X-Request-Id"]) == 16 or echoed


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "operator_token_invalid"),
        ({"X-Token-Place-Operator": "wrong"}, 401, "operator_token_invalid"),
        ({"Authorization": "Bearer wrong"}, 401, "operator_token_invalid"),
        ({"Authorization": "Basic operator"}, 401, "operator_token_invalid"),
        ({"Authorization": "operator"}, 401, "operator_token_invalid"),
        ({"X-Token-Place-Operator": "\u00e9"}, 401, "operator_token_invalid"),
    ],
)
async def test_operator_needs_the_token(
    relay: Inside, headers: dict[str, str], status: int, code: str
) -> None:
    await relay.register()
    answer = await relay.call(
        "POST", f"{RELAY}/unregister", {"server_public_key": NODE}, headers=headers
    )
    has_one_shape(answer, status)
    assert answer.error["code"] == code
    assert "WWW-Authenticate" not in answer.headers
    assert (await relay.counts())["nodes"] == 1


@pytest.mark.parametrize(
    "headers", [{"X-Token-Place-Operator": "operator"}, {"Authorization": "Bearer operator"}]
)
async def test_operator_takes_a_node_out(relay: Inside, headers: dict[str, str]) -> None:
    await relay.register()
    await relay.submit()
    path, body = f"{RELAY}/unregister", {"server_public_key": NODE}
    answer = await relay.call("POST", path, body, headers=headers)
    assert answer.body == {"message": "Server unregistered", "removed": True}
    again = await relay.call("POST", path, body, headers=headers)
    assert again.body == {"message": "Server unregistered", "removed": False}
    assert (await relay.retrieve()).error["reason"] == "server_unregistered"
    bad = await relay.call("POST", path, {"server_public_key": " "}, headers=headers)
    assert (bad.status, bad.error["message"]) == (400, "Invalid public key")


async def test_without_a_configured_token_no_caller_is_an_operator() -> None:
    async with inside() as relay:
        answer = await relay.call(
            "POST", f"{RELAY}/unregister", {}, headers={"X-Token-Place-Operator": ""}
        )
        has_one_shape(answer, 503)
        assert answer.error["code"] == "operator_auth_not_configured"


@pytest.mark.parametrize("path", OF_NODES)
@pytest.mark.parametrize("token", [None, "", "wrong", "tok", "token-a,token-b", "\u00e9"])
async def test_nodes_need_a_registration_token(path: str, token: str | None) -> None:
    async with inside(server_tokens=("token-a", "token-b"), public_rate="off") as relay:
        headers = {} if token is None else {"X-Relay-Server-Token": token}
        answer = await relay.call("POST", path, {}, headers=headers)
        has_one_shape(answer, 401)
        assert answer.error["message"] == "Missing or invalid relay server token"
        assert "WWW-Authenticate" not in answer.headers


async def test_every_registration_token_opens() -> None:
    async with inside(server_tokens=("token-a", "token-b")) as relay:
        for number, token in enumerate(("token-a", " token-b ")):
            body = {"server_public_key": f"node-{number}"}
            answer = await relay.post("servers/register", body, **{"X-Relay-Server-Token": token})
            assert answer.status == 200


async def test_token_binds_a_node_that_shows_no_credential() -> None:
    """Where each node has its own token, none of them can take or answer another one's work."""
    async with inside(server_tokens=("mine", "theirs")) as relay:
        mine, theirs = ({"X-Relay-Server-Token": name} for name in ("mine", "theirs"))
        body: dict[str, object] = {"server_public_key": NODE}
        assert (await relay.post("servers/register", body, **mine)).status == 200
        assert (await relay.submit()).status == 200
        sealed = {"ciphertext": "a", "cipherkey": "b", "iv": "c"}
        answer = {"client_public_key": CLIENT, "request_id": "r1", **sealed}
        for route, sent in (("servers/register", body), ("servers/poll", body),
                            ("responses", answer)):  # fmt: skip
            assert (await relay.post(route, sent, **theirs)).status == 403
        assert (await relay.counts())["queued"] == 1
        assert (await relay.post("servers/poll", body, **mine)).body["request_id"] == "r1"
        assert (await relay.post("responses", answer, **theirs)).status == 403
        assert (await relay.post("responses", answer, **mine)).status == 200


async def test_body_that_comes_too_slowly() -> None:
    async with inside(body_timeout=0.2, real_time=True) as slow:

        async def drip() -> AsyncIterator[bytes]:
            yield b'{"client_public_key"'
            await asyncio.sleep(30)
            yield b": 1}"

        async with slow.http.post(
            f"{slow.url}{RELAY}/responses/retrieve",
            data=drip(),
            headers={"Content-Type": "application/json"},
        ) as response:
            assert response.status == 408
            assert (await response.json())["error"]["message"] == "Request body took too long"
