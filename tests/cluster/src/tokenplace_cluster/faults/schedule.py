"""The faults of an API server, and the order in which they are injected."""

import random
from collections import Counter, deque
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """One way in which a request or a watch event fails."""

    CONFLICT = "409"
    GONE = "410"
    BUSY = "429 with Retry-After"
    INTERNAL = "500"
    TIMEOUT = "no answer"
    CUT = "the connection is closed"
    LOST = "the answer or the event is lost"
    BROKEN = "half of the data arrives"
    SILENCE = "no further data"
    DUPLICATE = "the event arrives twice"


class Place(StrEnum):
    """The traffic that a fault affects."""

    WRITE = "a write"
    LEASE = "a write of the Lease"
    READ = "a list, or a read of an object other than the Lease"
    WATCH = "the start of a watch"
    EVENT = "an event of a watch"


FAULTS: Final = {
    Place.WRITE: (
        Fault.CONFLICT,
        Fault.GONE,
        Fault.BUSY,
        Fault.INTERNAL,
        Fault.TIMEOUT,
        Fault.CUT,
        Fault.LOST,
    ),
    Place.LEASE: (Fault.CONFLICT, Fault.INTERNAL, Fault.TIMEOUT, Fault.LOST),
    Place.READ: (
        Fault.GONE,
        Fault.BUSY,
        Fault.INTERNAL,
        Fault.TIMEOUT,
        Fault.CUT,
        Fault.BROKEN,
    ),
    Place.WATCH: (Fault.GONE, Fault.BUSY, Fault.INTERNAL, Fault.TIMEOUT, Fault.CUT),
    Place.EVENT: (
        Fault.GONE,
        Fault.INTERNAL,
        Fault.CUT,
        Fault.LOST,
        Fault.BROKEN,
        Fault.SILENCE,
        Fault.DUPLICATE,
    ),
}
"""All faults, by place."""

EVERY: Final = {place: 3 if place is Place.LEASE else 2 for place in Place}
"""Every nth request or event fails, so that there is progress. Two writes of a Lease in a row must
succeed: after a lost answer, the next write conflicts with the one that was stored."""


class Schedule:
    """Each fault once at each of its places, in an order that the seed determines."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self._waiting = {
            place: deque(rng.sample(all_, len(all_))) for place, all_ in FAULTS.items()
        }
        self._seen: Counter[Place] = Counter()
        self.injected: list[tuple[Place, Fault]] = []

    def next(self, place: Place) -> Fault | None:
        """The fault of the next request or event at a place, if any."""
        self._seen[place] += 1
        if self._seen[place] % EVERY[place] or not self._waiting[place]:
            return None
        fault = self._waiting[place].popleft()
        self.injected.append((place, fault))
        return fault

    def remaining(self) -> list[tuple[Place, Fault]]:
        """The faults that were not injected yet."""
        return [(place, fault) for place, waiting in self._waiting.items() for fault in waiting]
