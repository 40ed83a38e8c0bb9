"""Counts and durations of all requests to the API server, including those of kopf."""

import time
from types import SimpleNamespace

import aiohttp

from tokenplace_operator.metrics import Metrics


def trace_requests(metrics: Metrics) -> aiohttp.TraceConfig:
    """Count and time every request of a session, kopf's too."""
    trace = aiohttp.TraceConfig()

    async def start(_: aiohttp.ClientSession, ctx: SimpleNamespace, __: object) -> None:
        ctx.started = time.monotonic()

    async def end(
        _: aiohttp.ClientSession, ctx: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        # aiohttp calls this at the answer's headers, so the minutes of an open watch do not count.
        count(ctx, params.method, str(params.response.status))

    async def fail(
        _: aiohttp.ClientSession, ctx: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        count(ctx, params.method, "0")

    def count(ctx: SimpleNamespace, method: str, code: str) -> None:
        metrics.kube_requests.labels(method, code).inc()
        seconds = time.monotonic() - ctx.started
        metrics.kube_request_duration.labels(method).observe(seconds)

    trace.on_request_start.append(start)
    trace.on_request_end.append(end)
    trace.on_request_exception.append(fail)
    return trace
