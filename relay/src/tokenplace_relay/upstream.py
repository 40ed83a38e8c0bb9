"""The GPU upstream: asked by a timer whether it is there, never by a request."""

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


class Verdict(StrEnum):
    """What the last probe found."""

    UNKNOWN = "unknown"
    """Not probed yet, or the probe itself failed."""
    HTTP = "http"
    """GET /health succeeded."""
    TCP = "tcp"
    """It accepts connections, and has no /health."""
    DNS = "dns"
    """Its name does not resolve."""
    REFUSED = "refused"
    """No connection."""
    TIMEOUT = "timeout"
    STATUS = "status"
    """GET /health answered with 5xx."""

    @property
    def is_up(self) -> bool:
        """Whether the upstream can be used."""
        return self in (Verdict.HTTP, Verdict.TCP)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the upstream is."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        """Its base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def target(config: Config) -> Target | None:
    """The configured upstream, or None; host and port of their own win over those of the URL."""
    parts = urlsplit(config.upstream_url)
    host = config.gpu_host or parts.hostname
    if not host:
        return None
    return Target(parts.scheme or "http", host, config.gpu_port or parts.port or DEFAULT_PORT)


@dataclass(slots=True)
class Upstream:
    """The upstream and what is known of it; target is None in a relay without one."""

    target: Target | None
    is_required: bool
    interval: float
    """Seconds between two probes."""
    timeout: float
    """Seconds that a probe may take."""
    verdict: Verdict = Verdict.UNKNOWN
    seconds: float = 0.0
    """How long the last probe took."""
    counts: dict[str, int] = field(default_factory=dict)
    """Verdict -> probes."""

    @property
    def blocks_readiness(self) -> bool:
        """Whether /healthz is red because of it."""
        return self.is_required and not self.verdict.is_up

    def note(self, verdict: Verdict, seconds: float) -> None:
        """Keep the outcome of a probe; a change is logged."""
        was = self.verdict
        if verdict is not was and (verdict.is_up != was.is_up or was is Verdict.UNKNOWN):
            log.info("upstream changed", up=verdict.is_up, verdict=str(verdict))
        self.verdict, self.seconds = verdict, seconds
        self.counts[verdict] = self.counts.get(verdict, 0) + 1

    def as_json(self) -> dict[str, object]:
        """The shape in which /healthz shows it."""
        milliseconds = round(self.seconds * 1000, 1)
        return {"up": self.verdict.is_up, "verdict": str(self.verdict), "probeMs": milliseconds}


UPSTREAM = web.AppKey("upstream", Upstream)


def make(config: Config) -> Upstream:
    """The upstream of a relay, not probed yet."""
    return Upstream(
        target(config),
        config.require_upstream_health,
        config.upstream_interval,
        config.upstream_timeout,
    )


async def probe(session: aiohttp.ClientSession, where: Target) -> Verdict:
    """Ask GET /health; the session brings the limit of time."""
    try:
        async with session.get(f"{where.url}/health", allow_redirects=False) as response:
            return _judge(response.status)
    except TimeoutError:
        return Verdict.TIMEOUT
    except (aiohttp.ClientConnectorDNSError, ValueError):
        # The latter for a name that may not even be asked for.
        return Verdict.DNS
    except (aiohttp.ClientConnectorError, aiohttp.ClientSSLError):
        return Verdict.REFUSED
    except (aiohttp.ClientError, ConnectionError):
        # It accepted the connection, which is all that is asked of something without HTTP.
        return Verdict.TCP


async def probing(app: web.Application) -> AsyncIterator[None]:
    """Probe by timer for as long as the application runs."""
    upstream = app[UPSTREAM]
    if upstream.target is None:
        yield
        return
    task = asyncio.create_task(_repeat(upstream, upstream.target))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _repeat(upstream: Upstream, where: Target) -> None:
    # Names resolve in threads, and anew each time, so that neither the loop nor a probe hangs
    # on what the name was.
    connector = aiohttp.TCPConnector(
        resolver=aiohttp.ThreadedResolver(), use_dns_cache=False, force_close=True
    )
    limit = aiohttp.ClientTimeout(total=upstream.timeout)
    async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
        while True:
            started = time.perf_counter()
            try:
                verdict = await probe(session, where)
            except Exception as error:  # noqa: BLE001 (nobody would learn that probing has ended)
                name = type(error).__name__
                log.error("probe failed", error=name)  # noqa: TRY400 (a text may name the host)
                verdict = Verdict.UNKNOWN
            upstream.note(verdict, time.perf_counter() - started)
            await asyncio.sleep(upstream.interval)


def _judge(status: int) -> Verdict:
    if 200 <= status < 300:
        return Verdict.HTTP
    return Verdict.STATUS if status >= 500 else Verdict.TCP
