"""The GPU upstream: what a probe finds, where it is shown, and when readiness depends on it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tokenplace_harness.process import relay_process
from tokenplace_harness.wait import eventually
from tokenplace_relay import upstream
from tokenplace_relay.app import make_app
from tokenplace_relay.peers.connection import Json
from tokenplace_relay.settings.config import Config, load
from tokenplace_relay.telemetry.logs import flush
from tokenplace_relay.upstream import UPSTREAM, ProbeResult, Target, probe, target

Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, None),
        ({"TOKENPLACE_RELAY_UPSTREAM_URL": "http://gpu:5015"}, "http://gpu:5015"),
        ({"TOKENPLACE_RELAY_UPSTREAM_URL": "https://gpu"}, "https://gpu:3000"),
        ({"TOKENPLACE_GPU_HOST": "box"}, "http://box:3000"),
        ({"GPU_SERVER_HOST": "box", "GPU_SERVER_PORT": "8"}, "http://box:8"),
        ({"TOKENPLACE_GPU_HOST": "::1", "TOKENPLACE_GPU_PORT": "8"}, "http://[::1]:8"),
        (
            {"TOKENPLACE_RELAY_UPSTREAM_URL": "http://gpu:5015", "TOKENPLACE_GPU_HOST": "box"},
            "http://box:5015",
        ),
    ],
)
def test_target(settings: dict[str, str], url: str | None) -> None:
    found = target(load(settings, {}))
    assert (found.url if found else None) == url


@asynccontextmanager
async def http_upstream(status: int) -> AsyncIterator[int]:
    """The port of a server whose /health answers with a status."""

    async def health(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.add_routes([web.get("/health", health)])
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


@asynccontextmanager
async def tcp_upstream(connected: Connected) -> AsyncIterator[int]:
    """The port of a server that does one thing with its only connection."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await connected(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        await ended.wait()


async def say_hello(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 hello\r\n")


async def hang_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Closes at once."""


async def say_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def verdict_at(port: int, host: str = "127.0.0.1") -> ProbeResult:
    limit = aiohttp.ClientTimeout(total=1)
    async with aiohttp.ClientSession(timeout=limit) as session:
        return await probe(session, Target("http", host, port))


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, ProbeResult.HTTP), (204, ProbeResult.HTTP), (404, ProbeResult.TCP),
        (401, ProbeResult.TCP), (302, ProbeResult.TCP), (500, ProbeResult.STATUS),
        (503, ProbeResult.STATUS),
    ],
)  # fmt: skip
async def test_an_http_server_is_an_answer(status: int, verdict: ProbeResult) -> None:
    async with http_upstream(status) as port:
        assert await verdict_at(port) is verdict


@pytest.mark.parametrize(
    ("connected", "verdict"),
    [(say_hello, ProbeResult.TCP), (hang_up, ProbeResult.TCP), (say_nothing, ProbeResult.TIMEOUT)],
)
async def test_what_does_not(connected: Connected, verdict: ProbeResult) -> None:
    async with tcp_upstream(connected) as port:
        assert await verdict_at(port) is verdict


async def test_no_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert await verdict_at(port) is ProbeResult.REFUSED


async def test_name_that_does_not_resolve() -> None:
    assert await verdict_at(80, "no-such-host.invalid") is ProbeResult.DNS


@pytest.mark.parametrize("name", ["gpu..server", "a" * 64 + ".example"])
async def test_name_that_may_not_be_asked_for(name: str) -> None:
    assert await verdict_at(80, name) is ProbeResult.DNS


async def test_probing_outlives_a_probe_that_fails(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    found = iter([ProbeResult.HTTP])

    async def failing(*_: object) -> ProbeResult:
        for verdict in found:
            return verdict
        raise RuntimeError("10.0.0.7")

    monkeypatch.setattr(upstream, "probe", failing)
    app = make_app(Config(gpu_host="gpu", upstream_interval=0.001))
    async with TestServer(app):
        await eventually(lambda: app[UPSTREAM].counts.get("unknown", 0) > 2)
        assert app[UPSTREAM].result is ProbeResult.UNKNOWN
    flush()
    said = capfd.readouterr().out
    assert "RuntimeError" in said
    assert "10.0.0.7" not in said


async def test_readiness_follows_a_required_upstream() -> None:
    settings = {
        "TOKENPLACE_RELAY_REQUIRE_UPSTREAM_HEALTH": "1",
        "RELAY_UPSTREAM_PROBE_SECONDS": "0.1",
    }
    async with AsyncExitStack() as running:
        port = await running.enter_async_context(http_upstream(200))
        url = f"http://127.0.0.1:{port}"
        with relay_process(TOKENPLACE_RELAY_UPSTREAM_URL=url, **settings) as relay:
            async with aiohttp.ClientSession(relay.url) as http:
                health = await eventually(lambda: healthz(http, 200))
                assert health["upstreamHealth"]["up"] is True
                assert (health["upstream"], health["relayOnly"]) == (url, False)
                for name in ("active", "required", "configured"):
                    assert health[f"{name}UpstreamServers"] == [url]
                assert "tokenplace_relay_upstream_up 1.0" in await scrape(http)
                await running.aclose()
                health = await eventually(lambda: healthz(http, 503))
                assert health == {"status": "degraded", "details": {"upstream": "refused"}}
                metrics = await scrape(http)
            # Lines leave some milliseconds later, and those of a killed relay not at all.
            await eventually(lambda: len(relay.events("upstream changed")) == 2)
        assert "tokenplace_relay_upstream_up 0.0" in metrics
        assert 'tokenplace_relay_upstream_probes_total{verdict="dns"} 0.0' in metrics
        assert [line["up"] for line in relay.events("upstream changed")] == [True, False]
        # The line of the start names the relay's own port, and only that.
        assert not any(str(port) in line for line in relay.stdout)


async def test_upstream_that_is_not_required_leaves_readiness_alone() -> None:
    settings = {
        "TOKENPLACE_GPU_HOST": "no-such-host.invalid",
        "RELAY_UPSTREAM_PROBE_SECONDS": "0.1",
    }
    with relay_process(**settings) as relay:
        async with aiohttp.ClientSession(relay.url) as http:

            async def is_probed() -> bool:
                health = await healthz(http, 200)
                return bool(health["upstreamHealth"]["verdict"] == "dns")

            await eventually(is_probed)
            async with http.get("/relay/diagnostics") as response:
                found = await response.json()
    url = "http://no-such-host.invalid:3000"
    assert found["configured_upstream_servers"] == [url]
    assert found["active_upstream_servers"] == found["required_upstream_servers"] == []


async def test_required_upstream_that_does_not_resolve() -> None:
    settings = {
        "TOKENPLACE_GPU_HOST": "no-such-host.invalid",
        "TOKENPLACE_RELAY_REQUIRE_UPSTREAM_HEALTH": "true",
    }
    with relay_process(**settings) as relay:
        async with aiohttp.ClientSession(relay.url) as http:

            async def details() -> bool:
                health = await healthz(http, 503)
                return bool(health["details"] == {"gpuHostResolution": "failed"})

            await eventually(details)


async def test_required_upstream_that_is_not_configured() -> None:
    config = Config(require_upstream_health=True)
    async with (
        TestClient(TestServer(make_app(config))) as http,
        http.get("/healthz") as response,
    ):
        body = await response.json()
    assert body == {"status": "degraded", "details": {"upstream": "not configured"}}


async def test_name_that_takes_long_does_not_hold_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resolver that hangs cannot be had on this machine, so the C library's is replaced."""
    hangs, asked = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, port: int, *numbers: int) -> object:
        if host == "slow.invalid":
            asked.set()
            hangs.wait(60)
        return real(host, port, *numbers)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    config = Config(gpu_host="slow.invalid", upstream_timeout=60)
    app = make_app(config)
    async with TestClient(TestServer(app)) as http:
        await asyncio.to_thread(asked.wait, 30)
        async with http.get("/livez") as response:
            assert response.status == 200
        assert app[UPSTREAM].result is ProbeResult.UNKNOWN
        hangs.set()


async def healthz(http: aiohttp.ClientSession, status: int) -> Json:
    """The body of /healthz when it has this status, else nothing."""
    async with http.get("/healthz") as response:
        body: Json = await response.json()
        return body if response.status == status else {}


async def scrape(http: aiohttp.ClientSession) -> str:
    async with http.get("/metrics") as response:
        return await response.text()
