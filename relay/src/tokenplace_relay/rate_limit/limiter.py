"""Counts events per bucket in fixed windows, and refuses those above a rate.

The clock is passed in and nothing waits, so a test can move time. A window starts with its first
event, so Retry-After is the exact rest of the window.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenplace_relay.settings.rate import Rate


@dataclass(frozen=True, slots=True)
class Refusal:
    """The rate that is exceeded, and the whole seconds until its window ends."""

    rate: Rate
    retry_after: int


@dataclass(frozen=True, slots=True)
class Remaining:
    """The events that a rate still allows, and the whole seconds until its window ends."""

    events: int
    seconds: int
    rate: Rate


Charge = tuple[str, Rate]
"""A bucket's name, and the rate that limits it."""


class Limiter:
    """Counts events per bucket, in at most `max_buckets` buckets."""

    def __init__(self, clock: Callable[[], float], max_buckets: int) -> None:
        self._clock = clock
        self._max = max_buckets
        self._windows: dict[int, OrderedDict[str, _Window]] = {}
        """Window length in seconds -> bucket -> window. Windows of one length end in order."""

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def take(self, charges: Sequence[Charge]) -> Refusal | None:
        """Count one event in every bucket, or in none of them if one is full."""
        now = self._clock()
        for bucket, rate in charges:
            window = self._find(bucket, rate)
            if window is not None and window.ends > now and window.count >= rate.amount:
                return Refusal(rate, max(1, math.ceil(window.ends - now)))
        for bucket, rate in charges:
            self._window(bucket, rate, now).count += 1
        return None

    def give_back(self, charges: Sequence[Charge]) -> None:
        """Remove one event from every bucket."""
        for bucket, rate in charges:
            window = self._find(bucket, rate)
            # The window of the event may have ended, and a new one may have started at 0.
            if window is not None and window.count > 0:
                window.count -= 1

    def remaining(self, charges: Sequence[Charge]) -> Remaining | None:
        """Return what remains of the charge with the fewest events left; None without charges."""
        now = self._clock()
        candidates = []
        for bucket, rate in charges:
            window = self._find(bucket, rate)
            count, ends = (window.count, window.ends) if window else (0, now + rate.seconds)
            seconds = max(0, math.ceil(ends - now))
            candidates.append(Remaining(max(0, rate.amount - count), seconds, rate))
        return min(candidates, key=lambda remaining: remaining.events, default=None)

    def evict(self) -> None:
        """Drop the windows that have ended."""
        now = self._clock()
        for windows in self._windows.values():
            while windows and next(iter(windows.values())).ends <= now:
                windows.popitem(last=False)

    def _find(self, bucket: str, rate: Rate) -> "_Window | None":
        windows = self._windows.get(rate.seconds)
        return None if windows is None else windows.get(bucket)

    def _window(self, bucket: str, rate: Rate, now: float) -> "_Window":
        windows = self._windows.setdefault(rate.seconds, OrderedDict())
        window = windows.get(bucket)
        if window is None or window.ends <= now:
            # A key that is set again keeps its old position, but evict() needs the windows in the
            # order in which they end.
            windows.pop(bucket, None)
            if len(self) >= self._max:
                self._make_room()
            window = windows[bucket] = _Window(0, now + rate.seconds)
        return window

    def _make_room(self) -> None:
        """Drop ended windows; if there are none, the oldest of the most common length."""
        self.evict()
        if len(self) >= self._max:
            # Resetting the oldest counter is better than refusing every new address.
            max(self._windows.values(), key=len).popitem(last=False)


@dataclass(slots=True)
class _Window:
    count: int
    ends: float
