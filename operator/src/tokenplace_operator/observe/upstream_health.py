"""The health of GPU upstreams: the probe of each relay, read from its /healthz.

Only the relay's pods may connect to the upstream, so the operator asks the relay. It asks in the
background, so that a relay that does not answer never blocks a worker.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tokenplace_operator.api.kinds import Key
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.observe.facts import UpstreamHealth

REFRESH_SECONDS = 60.0
RETRY_SECONDS = 5.0
"""Pause after the first failed request, doubled each time: a new pod may answer soon."""
TIMEOUT_SECONDS = 3.0
MAX_REQUESTS = 16
MAX_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Answer:
    health: UpstreamHealth
    pause: float
    """Seconds between this request and the next."""
    due: float
    """Time of the next request."""


class UpstreamProbe:
    """Asks each relay once a minute, sooner after a failed request, and keeps its last report."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: BoundedDict[Key, _Answer] = BoundedDict()
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(MAX_REQUESTS)

    def health(self, key: Key, url: str) -> UpstreamHealth | None:
        """The last report of a relay, or None; starts a request when the next one is due."""
        answer = self._answers.get(key)
        if (answer is None or self._clock() >= answer.due) and key not in self._asking:
            self._asking[key] = asyncio.create_task(self._refresh(key, url), name=f"ask {url}")
        return None if answer is None else answer.health

    def wait(self, key: Key) -> float:
        """Seconds until the next request is due; 0 before the first one."""
        answer = self._answers.get(key)
        return 0.0 if answer is None else max(answer.due - self._clock(), 0.0)

    def forget(self, key: Key) -> None:
        """Drop the report of a relay: the pod that gave it does not run any more."""
        self._answers.pop(key, None)

    def is_asking(self, key: Key) -> bool:
        """Whether a request is in progress."""
        return key in self._asking

    async def answered(self) -> None:
        """Wait until no request is in progress; for commands, never for a reconcile."""
        await asyncio.gather(*self._asking.values())

    async def _refresh(self, key: Key, url: str) -> None:
        try:
            async with self._slots:
                health = await ask(url)
        finally:
            del self._asking[key]
        pause = _pause(health, self._answers.get(key))
        self._answers[key] = _Answer(health, pause, self._clock() + pause)


def _pause(health: UpstreamHealth, before: _Answer | None) -> float:
    if health.settled:
        return REFRESH_SECONDS
    if before is None or before.health.settled:
        return RETRY_SECONDS
    return min(2 * before.pause, REFRESH_SECONDS)


async def ask(url: str) -> UpstreamHealth:
    """Send one request to /healthz of a relay; no error is raised."""
    limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            # A redirect would send the operator to an address that the relay's pod chooses.
            session.get(f"{url}/healthz", allow_redirects=False) as response,
        ):
            return _parse(json.loads(await _body(response.content)))
    except TimeoutError:
        return UpstreamHealth(None, f"no answer within {TIMEOUT_SECONDS:g} s", settled=False)
    except (aiohttp.ClientError, OSError) as error:
        return UpstreamHealth(None, type(error).__name__, settled=False)
    # Deeply nested JSON exceeds the recursion limit of the parser.
    except (ValueError, RecursionError):
        return UpstreamHealth(None, "its answer is no JSON")


async def _body(content: aiohttp.StreamReader) -> bytes:
    """The whole body; ValueError when it is larger than any that a relay sends."""
    body = bytearray()
    async for piece in content.iter_any():
        body += piece
        if len(body) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
    return bytes(body)


def _parse(body: Any) -> UpstreamHealth:  # noqa: ANN401 (JSON of any shape)
    """Read `upstreamHealth` of a ready relay, `details` of one that is not ready without it."""
    body = body if isinstance(body, dict) else {}
    health, details = body.get("upstreamHealth"), body.get("details")
    if isinstance(health, dict) and isinstance(health.get("up"), bool):
        # Cut, because it comes from a user's pod and is shown in the status.
        result = str(health.get("verdict", ""))[:32]
        has_probed = result != "unknown"
        return UpstreamHealth(health["up"] if has_probed else None, result, settled=has_probed)
    if isinstance(details, dict) and details.get("gpuHostResolution") == "failed":
        return UpstreamHealth(False, "dns")
    if isinstance(details, dict) and isinstance(details.get("upstream"), str):
        return UpstreamHealth(False, details["upstream"][:32])
    return UpstreamHealth(None, "its answer has no upstream health")
