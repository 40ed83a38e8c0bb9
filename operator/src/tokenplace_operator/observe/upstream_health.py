"""What a relay says of its GPU upstream: its own probe, read from /healthz by the operator.

Only the relay knows, since only its pods may connect there. It is asked in the background, so that
a relay that does not answer never holds a worker up.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tokenplace_operator.api.kinds import Key

REFRESH_SECONDS = 60.0
AGAIN_SECONDS = 5.0
"""After no answer, and twice as long each time: a pod that has just started may answer soon."""
TIMEOUT_SECONDS = 3.0
AT_A_TIME = 16
MAX_BYTES = 2**20
MAX_RELAYS = 4096


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """up: None when the relay did not tell. verdict: its own word, or why there is none.

    settled: false when the next seconds may well change it.
    """

    up: bool | None
    result: str
    settled: bool = True


@dataclass(frozen=True, slots=True)
class _Known:
    health: UpstreamHealth
    wait: float
    """Seconds from one question to the next."""
    due: float


class UpstreamProbe:
    """Asks each relay once a minute, after no answer sooner, and remembers what it said."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, _Known] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_A_TIME)

    def health(self, key: Key, url: str) -> UpstreamHealth | None:
        """What the relay said last; None before the first answer. Asks anew when that is old."""
        known = self._known.get(key)
        if (known is None or self._clock() >= known.due) and key not in self._asking:
            self._asking[key] = asyncio.create_task(self._refresh(key, url), name=f"ask {url}")
        return None if known is None else known.health

    def wait(self, key: Key) -> float:
        """Seconds until it is asked anew; 0 when it never was."""
        known = self._known.get(key)
        return 0.0 if known is None else max(known.due - self._clock(), 0.0)

    def forget(self, key: Key) -> None:
        """Begin anew: whoever said that does not run any more."""
        self._known.pop(key, None)

    def is_asking(self, key: Key) -> bool:
        """Whether an answer is on its way."""
        return key in self._asking

    async def answered(self) -> None:
        """Wait until every question has its answer, which no reconcile does."""
        await asyncio.gather(*self._asking.values())

    async def _refresh(self, key: Key, url: str) -> None:
        try:
            async with self._slots:
                found = await ask(url)
        finally:
            del self._asking[key]
        if len(self._known) >= MAX_RELAYS:
            self._known.clear()
        wait = _wait(found, self._known.get(key))
        self._known[key] = _Known(found, wait, self._clock() + wait)


def _wait(found: UpstreamHealth, before: _Known | None) -> float:
    if found.settled:
        return REFRESH_SECONDS
    if before is None or before.health.settled:
        return AGAIN_SECONDS
    return min(2 * before.wait, REFRESH_SECONDS)


async def ask(url: str) -> UpstreamHealth:
    """One question to /healthz of a relay, answered or not."""
    limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"{url}/healthz", allow_redirects=False) as answer,
        ):
            return _read(json.loads(await _body(answer.content)))
    except TimeoutError:
        return UpstreamHealth(None, f"no answer within {TIMEOUT_SECONDS:g} s", settled=False)
    except (aiohttp.ClientError, OSError) as error:
        return UpstreamHealth(None, type(error).__name__, settled=False)
    except (ValueError, RecursionError):
        return UpstreamHealth(None, "its answer is no JSON")


async def _body(content: aiohttp.StreamReader) -> bytes:
    """All of it; ValueError when that is more than a relay ever says."""
    found = bytearray()
    async for piece in content.iter_any():
        found += piece
        if len(found) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
    return bytes(found)


def _read(body: Any) -> UpstreamHealth:  # noqa: ANN401 (JSON of any shape)
    """upstreamHealth when it is well; details when readiness is red for want of the upstream."""
    body = body if isinstance(body, dict) else {}
    health, details = body.get("upstreamHealth"), body.get("details")
    if isinstance(health, dict) and isinstance(health.get("up"), bool):
        verdict = str(health.get("verdict", ""))[:32]
        looked = verdict != "unknown"
        return UpstreamHealth(health["up"] if looked else None, verdict, settled=looked)
    if isinstance(details, dict) and details.get("gpuHostResolution") == "failed":
        return UpstreamHealth(False, "dns")
    if isinstance(details, dict) and isinstance(details.get("upstream"), str):
        return UpstreamHealth(False, details["upstream"][:32])
    return UpstreamHealth(None, "it does not say")
