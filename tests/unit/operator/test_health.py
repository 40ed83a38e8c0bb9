"""Probes and metrics over a real socket."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.health import Health, serve


class Bench:
    def __init__(self) -> None:
        self.now = 0.0
        self.running = 0.0
        self.metrics = Metrics()
        self.health = Health(lambda: self.now, lambda: self.running, self.metrics)
        self.url = ""
        self.session: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    async with (
        serve(bench.health, bench.metrics, 0) as port,
        aiohttp.ClientSession() as bench.session,
    ):
        bench.url = f"http://127.0.0.1:{port}"
        yield bench


async def test_ready_only_between_start_and_stop(bench: Bench) -> None:
    assert (await bench.get("/readyz"))[0] == 503
    bench.health.ready = True
    assert await bench.get("/readyz") == (200, "ok")


async def test_alive_while_the_loop_ticks_and_reconciles_end(bench: Bench) -> None:
    assert await bench.get("/livez") == (200, "ok")
    bench.running = 301
    assert await bench.get("/livez") == (500, "a reconcile runs for 301 s")
    bench.running = 0
    bench.now = 16
    assert await bench.get("/livez") == (500, "the event loop last ticked 16 s ago")


async def test_metrics_are_in_the_text_format(bench: Bench) -> None:
    bench.metrics.applies.labels("Deployment", "applied").inc()
    status, text = await bench.get("/metrics")
    assert status == 200
    line = 'tokenplace_operator_apply_total{kind="Deployment",result="applied"} 1.0'
    assert line in text.splitlines()
    assert "tokenplace_operator_build_info" in text


async def test_two_sets_of_metrics_do_not_touch(bench: Bench) -> None:
    Metrics().applies.labels("Service", "applied").inc()
    line = 'tokenplace_operator_apply_total{kind="Service",result="applied"} 0.0'
    assert line in (await bench.get("/metrics"))[1].splitlines()
