"""Backs off writes that the API server rejects: by a quota, an admission policy, a taken name.

No event reports that the cause is gone, so each further attempt waits twice as long. Reconciles
for other reasons in between do not extend the wait. State is in memory only.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tokenplace_operator.api.kinds import Key

FIRST_SECONDS = 5.0
LAST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Wait:
    seconds: float
    until: float


class RejectionBackoff:
    """The waits of relays with a rejected write; times are of a monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waits: dict[Key, _Wait] = {}

    def delay(self, key: Key) -> float:
        """Seconds until the next attempt, after a rejected one; starts a wait if none runs."""
        now, last = self._clock(), self._waits.get(key)
        # Events during the wait, as of a rollout, do not make it longer.
        if last is not None and now < last.until:
            return last.until - now
        seconds = min(2 * last.seconds, LAST_SECONDS) if last else FIRST_SECONDS
        self._waits[key] = _Wait(seconds, now + seconds)
        return seconds

    def reset(self, key: Key) -> None:
        """Drop the wait of a relay whose writes succeed, or that is gone."""
        self._waits.pop(key, None)
