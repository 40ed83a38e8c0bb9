"""Liveness, readiness and metrics under load: thousands of held polls in one process."""

import asyncio
import time

import aiohttp
import pytest

from tokenplace_harness.process import relay_process
from tokenplace_harness.wait import eventually

NODES, POLLS = 50, 60
HELD = NODES * POLLS
SLOWEST_SECONDS = 5.0
"""What a probe may take on a machine that does much else; the benchmark measures the rest."""


@pytest.mark.timeout(240)
async def test_probes_answer_with_thousands_of_held_polls() -> None:
    settings = {"TOKEN_PLACE_API_V1_RELAY_POLL_WAIT_SECONDS": "120"}
    with relay_process(**settings) as relay:
        many = aiohttp.TCPConnector(limit=0)
        limit = aiohttp.ClientTimeout(total=200)
        async with (
            aiohttp.ClientSession(relay.url, connector=many, timeout=limit) as nodes,
            aiohttp.ClientSession(relay.url) as http,
        ):
            keys = [f"node-{number}" for number in range(NODES)]
            for key in keys:
                await post(nodes, "register", key)
            polls = [asyncio.create_task(post(nodes, "poll", key)) for key in keys * POLLS]
            await eventually(lambda: are_held(http), seconds=120, every=0.2)
            for path in ("/livez", "/healthz", "/metrics", "/relay/diagnostics"):
                for _ in range(10):
                    started = time.monotonic()
                    async with http.get(path) as response:
                        assert response.status == 200, path
                        await response.read()
                    assert time.monotonic() - started < SLOWEST_SECONDS, path
            assert not any(poll.done() for poll in polls)
            # A drain releases all of them, and each gets a pause before its next call.
            relay.terminate()
            answers = await asyncio.gather(*polls)
    assert {answer["message"] for answer in answers} == {"No requests available"}


async def post(http: aiohttp.ClientSession, call: str, key: str) -> dict[str, str]:
    path = f"/api/v1/relay/servers/{call}"
    async with http.post(path, json={"server_public_key": key}) as response:
        assert response.status == 200, await response.text()
        body: dict[str, str] = await response.json()
        return body


async def are_held(http: aiohttp.ClientSession) -> bool:
    async with http.get("/metrics") as response:
        return f"tokenplace_relay_held_polls {HELD}.0" in await response.text()
