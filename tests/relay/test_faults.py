"""The fault switch: off unless asked for, exact, loud in the log, and fair to probes."""

import time

import aiohttp
import pytest

from tokenplace_harness.process import relay_process
from tokenplace_relay.api.middleware.fault_injection import FaultInjector
from tokenplace_relay.server.response import ApiError


@pytest.mark.parametrize(("rate", "failed"), [(0.0, 0), (0.1, 10), (0.25, 25), (1.0, 100)])
async def test_error_rate_is_exact(rate: float, failed: int) -> None:
    faults = FaultInjector(delay=0, error_rate=rate)
    seen = 0
    for _ in range(100):
        try:
            await faults.inject("/api/v1/meta")
        except ApiError:
            seen += 1
    assert seen == failed


async def test_injected_error_is_marked_as_injected() -> None:
    with pytest.raises(ApiError) as caught:
        await FaultInjector(delay=0, error_rate=1).inject("/api/v1/meta")
    assert (caught.value.status, caught.value.body["error"]["code"]) == (500, "injected_fault")


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/metrics"])
async def test_probes_and_scrapes_are_spared(path: str) -> None:
    await FaultInjector(delay=0, error_rate=1).inject(path)


async def test_errors_of_a_drill() -> None:
    with relay_process("--fault-error-rate", "0.5") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            statuses = [await status(http, "/api/v1/meta") for _ in range(4)]
            assert await status(http, "/livez") == 200
    assert statuses == [200, 500, 200, 500]
    assert relay.events("fault injection is on")[0]["level"] == "warning"


async def test_delay_of_a_drill() -> None:
    with relay_process(RELAY_FAULT_DELAY_SECONDS="0.3") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            started = time.monotonic()
            assert await status(http, "/api/v1/meta") == 200
            assert time.monotonic() - started >= 0.3


async def test_unready_relay_of_a_drill_still_serves() -> None:
    with relay_process("--fault-unready", "yes") as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            async with http.get("/healthz") as response:
                assert response.status == 503
                body = await response.json()
            assert body == {"status": "degraded", "details": {"fault": "unready"}}
            assert await status(http, "/api/v1/meta") == 200
    assert relay.events("fault injection is on: /healthz answers 503")


async def test_without_the_switch_there_is_nothing() -> None:
    with relay_process() as relay:
        async with aiohttp.ClientSession(relay.url) as http:
            assert {await status(http, "/api/v1/meta") for _ in range(20)} == {200}
    assert not any("fault" in line for line in relay.stdout)


async def status(http: aiohttp.ClientSession, path: str) -> int:
    async with http.get(path) as response:
        return response.status
