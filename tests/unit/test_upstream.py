"""The operator reads what a real relay says of its GPU upstream, and never waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tokenplace_operator import upstream
from tokenplace_operator.upstream import MAX_BYTES, Report, UpstreamProbe, ask
from tokenplace_relay.app import make_app
from tokenplace_relay.config import Config

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


async def probed(url: str, wanted: bool) -> Report:
    """The relay's word once its own first probe is through."""
    for _ in range(200):
        found = await ask(url)
        if found.up is wanted:
            return found
        await asyncio.sleep(0.01)
    return found


async def test_a_real_relay_tells_that_its_upstream_answers(serve: Serve) -> None:
    gpu = await serve(answering("well"))
    relay = await serve(make_app(Config(upstream_url=gpu)))
    assert await probed(relay, True) == Report(True, "http")


@pytest.mark.parametrize("required", [False, True])
async def test_a_real_relay_tells_why_its_upstream_does_not(serve: Serve, required: bool) -> None:
    gone = "http://127.0.0.1:1"
    relay = await serve(make_app(Config(upstream_url=gone, require_upstream_health=required)))
    assert await probed(relay, False) == Report(False, "refused")


async def test_a_relay_without_an_upstream_does_not_tell(serve: Serve) -> None:
    relay = await serve(make_app(Config()))
    assert await ask(relay) == Report(None, "it does not say")


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("not JSON", "its answer is no JSON"),
        ("[]", "it does not say"),
        ('{"upstreamHealth": {"up": "yes"}}', "it does not say"),
        ('{"details": {"upstream": 1}}', "it does not say"),
        ("[" + " " * MAX_BYTES + "]", "its answer is no JSON"),
    ],
)
async def test_what_is_not_understood_is_not_guessed(serve: Serve, body: str, verdict: str) -> None:
    assert await ask(await serve(answering(body))) == Report(None, verdict)


async def test_nobody_there_is_no_error() -> None:
    assert (await ask("http://127.0.0.1:1")).up is None


async def test_a_reconcile_never_waits_for_an_answer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "TIMEOUT_SECONDS", 0.05)
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
    assert probe.report(KEY, url) is None
    assert probe.is_asking(KEY)
    assert probe.report(KEY, url) is None
    await probe.answered()
    assert probe.report(KEY, url) == Report(None, "no answer within 0.05 s")
    assert asked == 1, "an answer is remembered for a minute"
    now = 60.0
    probe.report(KEY, url)
    assert probe.is_asking(KEY)
    await probe.answered()
