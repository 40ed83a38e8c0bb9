"""When to try again what others refuse: a quota, an admission, a name that a stranger has.

Nothing tells when that ends, so each wait in vain is twice as long as the one before. Reconciles
that come for other reasons meanwhile do not make it longer. Kept in memory only.
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
    """The waits of the relays that are refused something; times by a monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waits: dict[Key, _Wait] = {}

    def delay(self, key: Key) -> float:
        """Seconds from now until the next attempt, after one that was refused."""
        now, last = self._clock(), self._waits.get(key)
        if last is not None and now < last.until:
            return last.until - now
        seconds = min(2 * last.seconds, LAST_SECONDS) if last else FIRST_SECONDS
        self._waits[key] = _Wait(seconds, now + seconds)
        return seconds

    def reset(self, key: Key) -> None:
        """Begin anew with the next refusal: nothing is refused any more, or the relay is gone."""
        self._waits.pop(key, None)
