"""How often: rates such as `60/hour`, and a limiter that counts in fixed windows.

Pure: the clock is passed in, nothing waits. A window starts with the first event in it, so the
time that a refused caller is told is the true rest of it.
"""

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_FORM: Final = re.compile(r"(\d{1,9})\s*(?:/|per)\s*(?:(\d{1,6})\s*)?(second|minute|hour|day)s?")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many events in so many seconds; `text` is how peers are told."""

    amount: int
    seconds: int
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The rate that is used up, and the whole seconds until it is not."""

    rate: Rate
    retry_after: int


@dataclass(frozen=True, slots=True)
class Left:
    """How many events a rate still allows, in how many whole seconds until it starts anew."""

    events: int
    seconds: int
    rate: Rate


Charge = tuple[str, Rate]
"""A bucket's name, and the rate it is counted against."""


def parse(text: str) -> Rate | None:
    """Read `60/hour`, `5 per 2 minutes`, or `off`, which is None; raises ValueError."""
    cleaned = text.strip().lower()
    if cleaned == "off":
        return None
    match = _FORM.fullmatch(cleaned)
    if match is None:
        raise ValueError("must look like 60/hour, 5 per 2 minutes, or off")
    amount, times, unit = int(match[1]), int(match[2] or 1), match[3]
    if amount < 1 or times < 1:
        raise ValueError("must allow at least 1 in at least 1; off is no limit")
    return Rate(amount, times * _UNITS[unit], f"{amount} per {times} {unit}")


def is_rate(text: str) -> str | None:
    """The rule for a setting that is a rate."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return None


class Limiter:
    """Counts events per bucket, in at most `max_buckets` buckets."""

    def __init__(self, clock: Callable[[], float], max_buckets: int) -> None:
        self._clock = clock
        self._max = max_buckets
        self._windows: dict[int, OrderedDict[str, _Window]] = {}
        """By their length in seconds, so that those of one length end in their order."""

    def __len__(self) -> int:
        return sum(map(len, self._windows.values()))

    def take(self, charges: Sequence[Charge]) -> Refusal | None:
        """Count one event in every bucket, or in none of them when one is full."""
        now = self._clock()
        for bucket, rate in charges:
            window = self._find(bucket, rate)
            if window is not None and window.ends > now and window.count >= rate.amount:
                return Refusal(rate, max(1, math.ceil(window.ends - now)))
        for bucket, rate in charges:
            self._window(bucket, rate, now).count += 1
        return None

    def give_back(self, charges: Sequence[Charge]) -> None:
        """Uncount one event in every bucket."""
        for bucket, rate in charges:
            window = self._find(bucket, rate)
            if window is not None and window.count > 0:
                window.count -= 1

    def left(self, charges: Sequence[Charge]) -> "Left | None":
        """What is left of the charge that will run out first; None without charges."""
        now = self._clock()
        lefts = []
        for bucket, rate in charges:
            window = self._find(bucket, rate)
            count, ends = (window.count, window.ends) if window else (0, now + rate.seconds)
            lefts.append(Left(max(0, rate.amount - count), max(0, math.ceil(ends - now)), rate))
        return min(lefts, key=lambda left: left.events, default=None)

    def forget(self) -> None:
        """Drop windows that are over, from the oldest of each length on."""
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
            windows.pop(bucket, None)
            if len(self) >= self._max:
                self._make_room()
            window = windows[bucket] = _Window(0, now + rate.seconds)
        return window

    def _make_room(self) -> None:
        """Drop windows that are over, else the oldest of the length that has most."""
        self.forget()
        if len(self) >= self._max:
            # Whoever was counted longest starts anew: better than to refuse the unknown.
            max(self._windows.values(), key=len).popitem(last=False)


@dataclass(slots=True)
class _Window:
    count: int
    ends: float
