"""The operator reads the GPU upstream's state from a real relay, and never waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tokenplace_operator.observe import upstream_health
from tokenplace_operator.observe.facts import UpstreamHealth
from tokenplace_operator.observe.upstream_health import (
    MAX_BYTES,
    UpstreamProbe,
    ask,
)
from tokenplace_relay.app import make_app
from tokenplace_relay.settings.config import Config

KEY = ("default", "relay")
Serve = Callable[[web.Application], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(app: web.Application) -> str:
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("")).rstrip("/")

    yield start
    for server in servers:
        await server.close()


def answering(body: str, status: int = 200) -> web.Application:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    app = web.Application()
    app.router.add_get("/health", handle)
    app.router.add_get("/healthz", handle)
    return app


async def probed(url: str, wanted: bool) -> UpstreamHealth:
    """The relay's word once its own first probe is through."""
    for _ in range(200):
        found = await ask(url)
        if found.up is wanted:
            return found
        await asyncio.sleep(0.01)
    return found


async def test_a_real_relay_reports_that_its_upstream_answers(serve: Serve) -> None:
    gpu = await serve(answering("well"))
    relay = await serve(make_app(Config(upstream_url=gpu)))
    assert await probed(relay, True) == UpstreamHealth(True, "http")


@pytest.mark.parametrize("required", [False, True])
async def test_a_real_relay_reports_why_its_upstream_does_not(serve: Serve, required: bool) -> None:
    gone = "http://127.0.0.1:1"
    relay = await serve(make_app(Config(upstream_url=gone, require_upstream_health=required)))
    assert await probed(relay, False) == UpstreamHealth(False, "refused")


async def test_a_relay_without_an_upstream_does_not_report_one(serve: Serve) -> None:
    relay = await serve(make_app(Config()))
    assert await ask(relay) == UpstreamHealth(None, "its answer has no upstream health")


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("not JSON", "its answer is no JSON"),
        ("[]", "its answer has no upstream health"),
        ('{"upstreamHealth": {"up": "yes"}}', "its answer has no upstream health"),
        ('{"details": {"upstream": 1}}', "its answer has no upstream health"),
        ("[" + " " * MAX_BYTES + "]", "its answer is no JSON"),
        ("[" * 100_000, "its answer is no JSON"),
    ],
)
async def test_what_is_not_understood_is_not_guessed(serve: Serve, body: str, verdict: str) -> None:
    assert await ask(await serve(answering(body))) == UpstreamHealth(None, verdict)


async def test_an_absent_relay_is_no_error_and_is_asked_again_soon() -> None:
    assert await ask("http://127.0.0.1:1") == UpstreamHealth(
        None, "ClientConnectorError", settled=False
    )


async def test_a_relay_that_has_not_looked_yet_is_asked_again_soon(serve: Serve) -> None:
    answer = '{"upstreamHealth": {"up": false, "verdict": "unknown"}}'
    assert await ask(await serve(answering(answer))) == UpstreamHealth(
        None, "unknown", settled=False
    )


async def test_an_answer_in_two_pieces_is_read_to_its_end(serve: Serve) -> None:
    body = b'{"upstreamHealth": {"up": true, "verdict": "http"}}'

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await answer.prepare(request)
        await answer.write(body[:10])
        await first_is_there.wait()
        await answer.write(body[10:])
        return answer

    first_is_there = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, first_is_there.set)
    app = web.Application()
    app.router.add_get("/healthz", handle)
    assert await ask(await serve(app)) == UpstreamHealth(True, "http")


async def test_no_answer_expires_in_seconds_and_an_answer_in_a_minute(serve: Serve) -> None:
    now = 0.0
    probe = UpstreamProbe(lambda: now)
    waits = []
    for _ in range(6):
        probe.health(KEY, "http://127.0.0.1:1")
        await probe.answered()
        waits.append(wait := probe.wait(KEY))
        now += wait - 0.1
        probe.health(KEY, "http://127.0.0.1:1")
        assert not probe.is_asking(KEY)
        now += 0.1
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]

    url = await serve(answering('{"upstreamHealth": {"up": true, "verdict": "http"}}'))
    probe.health(KEY, url)
    await probe.answered()
    assert (probe.health(KEY, url), probe.wait(KEY)) == (UpstreamHealth(True, "http"), 60.0)
    now += 60.0
    probe.health(KEY, "http://127.0.0.1:1")
    await probe.answered()
    assert probe.wait(KEY) == 5.0, "it begins anew after an answer"


async def test_a_reconcile_never_waits_for_an_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_health, "TIMEOUT_SECONDS", 0.05)
    asked = 0

    async def hang(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(1)
        return web.Response()

    app = web.Application()
    app.router.add_get("/healthz", hang)
    url = await serve(app)
    now = 0.0
    probe = UpstreamProbe(lambda: now)
    assert probe.health(KEY, url) is None
    assert probe.is_asking(KEY)
    assert probe.health(KEY, url) is None
    await probe.answered()
    no_answer = UpstreamHealth(None, "no answer within 0.05 s", settled=False)
    assert probe.health(KEY, url) == no_answer
    assert asked == 1
    now = 5.0
    probe.health(KEY, url)
    assert probe.is_asking(KEY)
    await probe.answered()
