"""The facade: the real `openai` client and bare HTTP, a real relay process, our compute node."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from tokenplace_harness.peers import answering, serving_node
from tokenplace_harness.process import RelayProcess, relay_process
from tokenplace_harness.wait import eventually
from tokenplace_relay.peers.compute_node import ComputeNode
from tokenplace_relay.peers.connection import Json, RelayConnection
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.envelope import Identity, Inner, Sealed

MODEL = "qwen3-8b-instruct"
ALIASES = ["llama-3.1-8b-instruct", "llama-3-8b-instruct", "gpt-3.5-turbo", "gpt-5-chat-latest"]
HELLO = [{"role": "user", "content": "hello"}]
OPERATOR = {"Authorization": "Bearer operator-token"}


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    settings = {"TOKEN_PLACE_OPERATOR_TOKEN": "operator-token", "API_RATE_LIMIT": "off"}
    with relay_process(**settings) as process:
        yield process


@pytest_asyncio.fixture
async def http(relay: RelayProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(relay.url) as session:
        yield session


@pytest_asyncio.fixture
async def client(relay: RelayProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{relay.url}/v1", api_key="none", max_retries=0, timeout=60
    ) as found:
        yield found


def shout(asked: Inner) -> Inner:
    """A model that can be checked: the last message in capitals."""
    return {"role": "assistant", "content": asked["messages"][-1]["content"].upper()}


async def test_chat_by_the_real_client(relay: RelayProcess, client: openai.AsyncOpenAI) -> None:
    seen: list[Inner] = []

    def answer(asked: Inner) -> Inner:
        seen.append(asked)
        return shout(asked)

    async with serving_node(relay.url, answer):
        done = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "system", "content": "Loud!"}, {"role": "user", "content": "hi"}],
            temperature=0.5,
            max_tokens=16,
            stop=["\n"],
            seed=7,
            metadata={"trace": "t1"},
        )
    assert done.choices[0].message.content == "HI"
    assert done.choices[0].finish_reason == "stop"
    assert (done.object, done.model) == ("chat.completion", MODEL)
    assert done.to_dict()["metadata"] == {"trace": "t1"}
    assert seen == [
        {
            "model": MODEL,
            "messages": [{"role": "system", "content": "Loud!"}, {"role": "user", "content": "hi"}],
            "options": {"temperature": 0.5, "max_tokens": 16, "stop": ["\n"], "seed": 7},
            "routing": {"context_tier": "8k-fast"},
        }
    ]  # fmt: skip


async def test_text_completion_by_the_real_client(
    relay: RelayProcess, client: openai.AsyncOpenAI
) -> None:
    async with serving_node(relay.url, shout):
        done = await client.completions.create(model=MODEL, prompt="once upon a time")
    assert done.object == "text_completion"
    assert done.choices[0].text == "ONCE UPON A TIME"


@pytest.mark.parametrize("alias", ALIASES)
async def test_aliases_are_resolved(
    relay: RelayProcess, client: openai.AsyncOpenAI, alias: str
) -> None:
    async with serving_node(relay.url, shout):
        done = await client.chat.completions.create(
            model=alias, messages=[{"role": "user", "content": alias}]
        )
    assert (done.model, done.choices[0].message.content) == (alias, alias.upper())
    assert (await client.models.retrieve(alias)).id == MODEL


async def test_models_are_one_and_hide_aliases(client: openai.AsyncOpenAI) -> None:
    found = (await client.models.list()).data
    assert [(one.id, one.owned_by, one.object) for one in found] == [(MODEL, "Qwen", "model")]
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-7")
    assert caught.value.code == "model_not_found"


async def test_many_at_once_are_not_mixed_up(
    relay: RelayProcess, client: openai.AsyncOpenAI
) -> None:
    async def one(number: int) -> str | None:
        text = f"number {number}"
        done = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}]
        )
        return done.choices[0].message.content

    async with serving_node(relay.url, shout), serving_node(relay.url, shout):
        # Each node handles one request at a time; the others wait in the queues.
        answers = [
            await asyncio.gather(*(one(n) for n in range(k, k + 2))) for k in range(0, 10, 2)
        ]
    assert [text for pair in answers for text in pair] == [f"NUMBER {n}" for n in range(10)]


async def test_streaming_is_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], stream=True
        )
    assert (caught.value.param, caught.value.code) == ("stream", "streaming_not_supported")


async def test_answer_names_its_route(relay: RelayProcess, http: aiohttp.ClientSession) -> None:
    async with serving_node(relay.url, shout):
        body = chatting()
        async with http.post("/api/v1/chat/completions", json=body) as response:
            assert response.status == 200
            headers = response.headers
    prefix = "X-Tokenplace-API-V1"
    assert headers[f"{prefix}-Provider"] == "DistributedApiV1ComputeProvider"
    assert headers[f"{prefix}-Resolved-Provider-Path"] == "distributed"
    assert headers[f"{prefix}-Execution-Backend-Path"] == "distributed_relay_e2ee"
    assert headers[f"{prefix}-Stream-Mode"] == "non-streaming"


def chatting(**changes: object) -> Json:
    """A good request with changes; None takes a field away."""
    body = {"model": MODEL, "messages": HELLO, **changes}
    return {name: value for name, value in body.items() if value is not None}


def saying(**changes: object) -> Json:
    """A good request whose only message has changes."""
    return chatting(messages=[{**HELLO[0], **changes}])


PART = {"type": "image_url", "image_url": {"url": "data:"}}
BAD = "invalid_value"
REFUSED: list[tuple[Json, str | None, str]] = [
    (chatting(model=None), "model", BAD),
    (chatting(model=5), "model", BAD),
    (chatting(model="gpt-7"), "model", "model_not_supported"),
    (chatting(messages=None), "messages", BAD),
    (chatting(messages="hello"), "messages", BAD),
    (chatting(messages=[]), "messages", BAD),
    (chatting(messages=HELLO * 65), "messages", BAD),
    (chatting(messages=[1]), "messages[0]", BAD),
    (saying(role="tool"), "messages[0].role", BAD),
    (saying(content=None), "messages[0].content", BAD),
    (saying(content=[PART]), "messages[0].content", BAD),
    (saying(content=[]), "messages[0].content", BAD),
    (saying(content="x" * (512 * 1024 + 1)), "messages", BAD),
    (saying(tool_calls=[1]), "messages[0]", BAD),
    (saying(name=""), "messages[0].name", BAD),
    (chatting(stream=True), "stream", "streaming_not_supported"),
    (chatting(n=2), "n", BAD),
    (chatting(temperature="hot"), "temperature", BAD),
    (chatting(top_p=True), "top_p", BAD),
    (chatting(temperature=10**400), "temperature", BAD),
    (chatting(top_p=-(10**400)), "top_p", BAD),
    (chatting(frequency_penalty=10**400), "frequency_penalty", BAD),
    (chatting(presence_penalty=10**400), "presence_penalty", BAD),
    (chatting(max_tokens=8193), "max_tokens", BAD),
    (chatting(max_completion_tokens=0), "max_completion_tokens", BAD),
    (chatting(seed=1.5), "seed", BAD),
    (chatting(stop=["s"] * 17), "stop", BAD),
    (chatting(metadata=[]), "metadata", BAD),
    (chatting(tools=[{}]), "tools", "unsupported_parameter"),
    (chatting(encrypted=True), None, "encryption_error"),
]


@pytest.mark.parametrize(("body", "param", "code"), REFUSED)
async def test_refusal_names_the_parameter(
    http: aiohttp.ClientSession, body: Json, param: str | None, code: str
) -> None:
    status, error = await refused(http, "/v1/chat/completions", body)
    assert (status, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == ("encryption_error" if param is None else "invalid_request_error")


async def test_useless_key_of_an_encrypting_caller(http: aiohttp.ClientSession) -> None:
    for key in (None, "", "not a key", 5, "QUJD"):
        body = {"model": MODEL, "encrypted": True, "client_public_key": key, "messages": {}}
        status, error = await refused(http, "/v1/chat/completions", body)
        assert (status, error["code"]) == (400, "encryption_error")


async def test_no_compute_node(http: aiohttp.ClientSession) -> None:
    status, error = await refused(http, "/v1/chat/completions", chatting())
    assert (status, error["code"]) == (503, "no_registered_compute_nodes")


async def test_node_with_a_key_that_is_none(
    http: aiohttp.ClientSession, relay: RelayProcess
) -> None:
    connection = RelayConnection(http, relay.url)
    node = ComputeNode(connection, Identity.create(), (MODEL,))
    body = {"server_public_key": "no key at all", "capabilities": node.capabilities}
    _, answer = await connection.post("servers/register", body)
    status, error = await refused(http, "/v1/chat/completions", chatting())
    assert (status, error["code"]) == (503, "compute_node_unreachable")
    credential = answer["control_credential"]
    await connection.post(
        "servers/unregister",
        {"server_public_key": "no key at all", "control_credential": credential},
    )


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("compute_node_context_window_exceeded", 400, "compute_node_context_window_exceeded"),
        ("compute_node_options_unsupported", 400, "compute_node_options_unsupported"),
        ("compute_node_runtime_unavailable", 503, "compute_node_runtime_unavailable"),
        ("compute_node_process_failed", 502, "compute_node_bridge_error"),
        (7, 502, "compute_node_bridge_error"),
    ],
)
async def test_error_that_a_node_sealed(
    relay: RelayProcess, http: aiohttp.ClientSession, code: object, status: int, shown: str
) -> None:
    inner = {"error": {"code": code, "message": "said the node"}}
    async with answering(relay.url, inner):
        got, error = await refused(http, "/v1/chat/completions", chatting())
    assert (got, error["code"], error["message"]) == (status, shown, "said the node")


@pytest.mark.parametrize(
    "inner", [{}, {"message": {}}, {"message": {"content": 5}}, {"message": 1}]
)
async def test_answer_without_a_message(
    relay: RelayProcess, http: aiohttp.ClientSession, inner: Json
) -> None:
    async with answering(relay.url, inner):
        status, error = await refused(http, "/v1/chat/completions", chatting())
    assert (status, error["code"]) == (502, "compute_node_invalid_payload")


async def test_encrypted_caller_is_answered_encrypted(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    caller = Identity.create()
    async with serving_node(relay.url, shout):
        async with http.get("/api/v1/public-key") as response:
            key = (await response.json())["public_key"]
        sealed = sealed_list(HELLO, key)
        body = {
            "model": MODEL,
            "encrypted": True,
            "client_public_key": caller.public,
            "messages": sealed,
        }
        async with http.post("/api/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            answer = await response.json()
    assert "HELLO" not in json.dumps(answer)
    data = answer["data"]
    assert (answer["encrypted"], data["encrypted"]) == (True, True)
    done = caller.open(Sealed(data["ciphertext"], data["cipherkey"], data["iv"]))
    assert done["choices"][0]["message"]["content"] == "HELLO"


async def test_rotation_is_the_operators_and_ends_the_old_key(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/public-key") as response:
        old = (await response.json())["public_key"]
    assert (await refused(http, "/v1/public-key/rotate", {}))[0] == 401
    async with http.post("/v1/public-key/rotate", headers=OPERATOR) as response:
        assert response.status == 200
        new = (await response.json())["public_key"]
    async with http.get("/api/v1/public-key") as response:
        assert (await response.json())["public_key"] == new != old
    body = {
        "model": MODEL, "encrypted": True, "client_public_key": new,
        "messages": sealed_list(HELLO, old),
    }  # fmt: skip
    status, error = await refused(http, "/v1/chat/completions", body)
    assert (status, error["code"], error["type"]) == (400, "encryption_error", "encryption_error")


async def test_no_answer_in_time_cancels_the_request() -> None:
    with relay_process(TOKENPLACE_API_V1_DISTRIBUTED_TIMEOUT_SECONDS="1") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            node = ComputeNode(RelayConnection(http, relay.url), Identity.create(), (MODEL,))
            await node.register()
            body = chatting()
            asking = asyncio.create_task(refused(http, "/v1/chat/completions", body))
            work = await node.poll()
            assert work is not None
            status, error = await asking
            assert (status, error["code"]) == (504, "compute_node_timeout")
            assert await node.control(work) == "expired"


async def test_caller_that_leaves_cancels_the_request(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    node = ComputeNode(RelayConnection(http, relay.url), Identity.create(), (MODEL,))
    await node.register()
    async with aiohttp.ClientSession(relay.url) as leaving:
        body = chatting()
        asking = asyncio.create_task(refused(leaving, "/v1/chat/completions", body))
        work = await node.poll()
        assert work is not None
        assert await node.control(work) == "active"
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    async def is_cancelled() -> bool:
        return await node.control(work) == "cancelled"

    await eventually(is_cancelled)
    await node.unregister()


async def test_node_that_leaves_is_reported_immediately(
    relay: RelayProcess, http: aiohttp.ClientSession
) -> None:
    node = ComputeNode(RelayConnection(http, relay.url), Identity.create(), (MODEL,))
    await node.register()
    asking = asyncio.create_task(refused(http, "/v1/chat/completions", chatting()))
    assert await node.poll() is not None
    await node.unregister()
    status, error = await asking
    assert (status, error["code"]) == (503, "compute_node_unreachable")


async def test_facade_that_is_off() -> None:
    with relay_process("--facade", "off") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            for path in ("chat/completions", "completions"):
                status, error = await refused(http, f"/api/v1/{path}", {})
                assert (status, error["code"]) == (501, "facade_disabled"), path
            async with http.get("/v1/public-key") as response:
                assert response.status == 501
            async with http.get("/api/v1/models") as response:
                assert len((await response.json())["data"]) == 1


async def test_too_many_calls_get_a_retry_after() -> None:
    with relay_process("--facade-max-requests", "1") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            node = ComputeNode(RelayConnection(http, relay.url), Identity.create(), (MODEL,))
            await node.register()
            body = chatting()
            asking = asyncio.create_task(http.post("/v1/chat/completions", json=body))
            work = await node.poll()
            assert work is not None
            async with http.post("/v1/chat/completions", json=body) as response:
                assert response.status == 503
                assert int(response.headers["Retry-After"]) > 0
                assert (await response.json())["error"]["code"] == "facade_full"
            await node.respond(work)
            async with await asking as response:
                assert response.status == 200


async def refused(http: aiohttp.ClientSession, path: str, body: Json) -> tuple[int, Json]:
    """Status and error of a call that is expected to fail."""
    async with http.post(path, json=body) as response:
        found: Json = (await response.json())["error"]
        return response.status, found


def sealed_list(messages: list[Inner], key: str) -> Json:
    """Messages as upstream's clients seal them to the relay: a JSON list."""
    listed: Any = messages
    sealed = envelope.seal(listed, key)
    return {"ciphertext": sealed.ciphertext, "cipherkey": sealed.cipherkey, "iv": sealed.iv}
