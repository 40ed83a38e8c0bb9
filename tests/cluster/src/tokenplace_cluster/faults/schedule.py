"""Which faults an API server has, where they strike, and in which order."""

import random
from collections import Counter, deque
from enum import StrEnum
from typing import Final


class Fault(StrEnum):
    """One way in which a request or an event of a watch goes wrong."""

    CONFLICT = "409"
    GONE = "410"
    BUSY = "429, with a time to wait"
    INTERNAL = "500"
    TIMEOUT = "no answer"
    CUT = "the connection ends"
    LOST = "it is done, but the answer or the event is lost"
    BROKEN = "half of it comes"
    SILENCE = "nothing comes any more"
    DUPLICATE = "it comes twice"


class Place(StrEnum):
    """What a fault strikes."""

    WRITE = "a write"
    LEASE = "a write of the Lease"
    READ = "a list, or one object that is no Lease"
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
"""All that can go wrong, by place."""

EVERY: Final = {place: 3 if place is Place.LEASE else 2 for place in Place}
"""One of so many is struck, so that there is progress. A Lease needs two to go well: after an
answer that was lost, the next write conflicts with the one that was done."""


class Schedule:
    """Each fault once at each of its places; the seed gives the order."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        self._waiting = {
            place: deque(rng.sample(all_, len(all_))) for place, all_ in FAULTS.items()
        }
        self._seen: Counter[Place] = Counter()
        self.struck: list[tuple[Place, Fault]] = []

    def next(self, place: Place) -> Fault | None:
        """The fault that strikes now, if any."""
        self._seen[place] += 1
        if self._seen[place] % EVERY[place] or not self._waiting[place]:
            return None
        fault = self._waiting[place].popleft()
        self.struck.append((place, fault))
        return fault

    def left(self) -> list[tuple[Place, Fault]]:
        """What has not struck yet."""
        return [(place, fault) for place, waiting in self._waiting.items() for fault in waiting]
