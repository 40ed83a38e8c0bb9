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

from tokenplace_operator.kinds import Key

REFRESH_SECONDS = 60.0
TIMEOUT_SECONDS = 3.0
AT_A_TIME = 16
MAX_BYTES = 2**20
MAX_RELAYS = 4096


@dataclass(frozen=True, slots=True)
class Report:
    """up: None when the relay did not tell. verdict: its own word, or why there is none."""

    up: bool | None
    verdict: str


class UpstreamProbe:
    """Asks each relay once a minute and remembers what it said."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, tuple[float, Report]] = {}
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_A_TIME)

    def report(self, key: Key, url: str) -> Report | None:
        """What the relay said last; None before the first answer. Asks anew when that is old."""
        asked, known = self._known.get(key, (float("-inf"), None))
        if self._clock() - asked >= REFRESH_SECONDS and key not in self._asking:
            self._asking[key] = asyncio.create_task(self._refresh(key, url), name=f"ask {url}")
        return known

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
        self._known[key] = (self._clock(), found)


async def ask(url: str) -> Report:
    """One question to /healthz of a relay, answered or not."""
    limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"{url}/healthz", allow_redirects=False) as answer,
        ):
            return _read(json.loads(await answer.content.read(MAX_BYTES)))
    except TimeoutError:
        return Report(None, f"no answer within {TIMEOUT_SECONDS:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return Report(None, type(error).__name__)
    except ValueError:
        return Report(None, "its answer is no JSON")


def _read(body: Any) -> Report:  # noqa: ANN401 (JSON of any shape)
    """upstreamHealth when it is well; details when readiness is red for want of the upstream."""
    body = body if isinstance(body, dict) else {}
    health, details = body.get("upstreamHealth"), body.get("details")
    if isinstance(health, dict) and isinstance(health.get("up"), bool):
        verdict = str(health.get("verdict", ""))[:32]
        return Report(None if verdict == "unknown" else health["up"], verdict)
    if isinstance(details, dict) and details.get("gpuHostResolution") == "failed":
        return Report(False, "dns")
    if isinstance(details, dict) and isinstance(details.get("upstream"), str):
        return Report(False, details["upstream"][:32])
    return Report(None, "it does not say")
