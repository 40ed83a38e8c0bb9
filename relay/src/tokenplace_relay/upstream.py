"""Probes the GPU upstream by a timer, never during a request."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.logs import get

log = get("tokenplace.relay.upstream")

DEFAULT_PORT: Final = 3000


class ProbeResult(StrEnum):
    """The result of the last probe."""

    UNKNOWN = "unknown"
    """Not probed yet, or the probe itself failed."""
    HTTP = "http"
    """GET /health succeeded."""
    TCP = "tcp"
    """It accepts connections, but has no /health."""
    DNS = "dns"
    """Its name does not resolve."""
    REFUSED = "refused"
    """The connection failed."""
    TIMEOUT = "timeout"
    STATUS = "status"
    """GET /health answered with a 5xx status."""

    @property
    def is_up(self) -> bool:
        """Whether the upstream can be used."""
        return self in (ProbeResult.HTTP, ProbeResult.TCP)


@dataclass(frozen=True, slots=True)
class Target:
    """The address of the upstream."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the base URL."""
        # An IPv6 address needs brackets in a URL.
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def target(config: Config) -> Target | None:
    """Return the configured upstream, or None; host and port settings win over the URL."""
    parts = urlsplit(config.upstream_url)
    host = config.gpu_host or parts.hostname
    if not host:
        return None
    return Target(parts.scheme or "http", host, config.gpu_port or parts.port or DEFAULT_PORT)


@dataclass(slots=True)
class Upstream:
    """The upstream and its last probe; target is None in a relay without an upstream."""

    target: Target | None
    is_required: bool
    interval: float
    """Seconds between two probes."""
    timeout: float
    """Seconds that a probe may take."""
    result: ProbeResult = ProbeResult.UNKNOWN
    seconds: float = 0.0
    """Duration of the last probe."""
    counts: dict[str, int] = field(default_factory=dict)
    """Result -> number of probes."""

    @property
    def blocks_readiness(self) -> bool:
        """Whether readiness fails because of the upstream."""
        return self.is_required and not self.result.is_up

    def record(self, result: ProbeResult, seconds: float) -> None:
        """Store the result of a probe, and log a change."""
        last = self.result
        # An upstream that is down may alternate between timeouts and refusals; only a change
        # between up and down is worth a line.
        if result is not last and (result.is_up != last.is_up or last is ProbeResult.UNKNOWN):
            log.info("upstream changed", up=result.is_up, verdict=str(result))
        self.result, self.seconds = result, seconds
        self.counts[result] = self.counts.get(result, 0) + 1

    def as_json(self) -> dict[str, object]:
        """Return the shape that /healthz shows."""
        milliseconds = round(self.seconds * 1000, 1)
        return {"up": self.result.is_up, "verdict": str(self.result), "probeMs": milliseconds}


UPSTREAM = web.AppKey("upstream", Upstream)


def make(config: Config) -> Upstream:
    """Return the upstream of a relay, not probed yet."""
    return Upstream(
        target(config),
        config.require_upstream_health,
        config.upstream_interval,
        config.upstream_timeout,
    )


async def probe(session: aiohttp.ClientSession, address: Target) -> ProbeResult:
    """Request GET /health; the session has the timeout."""
    try:
        # A redirect leaves the configured address, and its status alone shows that a server runs
        # there.
        async with session.get(f"{address.url}/health", allow_redirects=False) as response:
            return _result_of(response.status)
    # aiohttp's timeouts are ClientErrors too, and its DNS errors are connector errors, so the order
    # of these clauses matters.
    except TimeoutError:
        return ProbeResult.TIMEOUT
    except (aiohttp.ClientConnectorDNSError, ValueError):
        # ValueError is raised for a name that cannot be resolved at all.
        return ProbeResult.DNS
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError):
        return ProbeResult.REFUSED
    except (aiohttp.ClientError, ConnectionError):
        # It accepted the connection, which is enough for a server without HTTP.
        return ProbeResult.TCP


async def probing(app: web.Application) -> AsyncIterator[None]:
    """Probe by a timer while the application runs."""
    upstream = app[UPSTREAM]
    if upstream.target is None:
        yield
        return
    task = asyncio.create_task(_repeat(upstream, upstream.target))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _repeat(upstream: Upstream, address: Target) -> None:
    # Names are resolved in threads and for each probe, so the event loop never blocks and a probe
    # never uses an old address.
    connector = aiohttp.TCPConnector(
        resolver=aiohttp.ThreadedResolver(), use_dns_cache=False, force_close=True
    )
    limit = aiohttp.ClientTimeout(total=upstream.timeout)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        while True:
            started = time.perf_counter()
            try:
                result = await probe(session, address)
            except Exception as error:  # noqa: BLE001 (probing must not end unnoticed)
                name = type(error).__name__
                log.error("probe failed", error=name)  # noqa: TRY400 (the text may name the host)
                result = ProbeResult.UNKNOWN
            upstream.record(result, time.perf_counter() - started)
            await asyncio.sleep(upstream.interval)


def _result_of(status: int) -> ProbeResult:
    # A 404 comes from a server without /health, which is enough; a 5xx is its own report of
    # failure.
    if 200 <= status < 300:
        return ProbeResult.HTTP
    return ProbeResult.STATUS if status >= 500 else ProbeResult.TCP
