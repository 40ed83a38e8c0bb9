"""Decides when Python collects garbage of all generations.

A full collection visits every object. With 10,000 held polls this takes up to a second, in which
the relay answers nothing, and it finds next to nothing: the relay's requests leave no cycles that a
collection of young objects would miss. So full collections are rare and done at a fixed interval.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

FEW_HELD_CALLS: Final = 1000
"""With this number of held calls a full collection takes about 10 ms."""
INTERVAL_SECONDS: Final = 600.0
LONGEST_INTERVAL_SECONDS: Final = 3600.0
"""A full collection is done after this time, however many calls are held."""
_NEVER: Final = 1_000_000_000


def configure() -> None:
    """Exempt all objects made at the start, and turn automatic full collections off."""
    # Collect first: freeze() would keep existing garbage permanently.
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


class GCPolicy:
    """Does full collections; `held` returns the number of held calls."""

    def __init__(
        self, held: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._held = held
        self._clock = clock
        self._last = clock()

    def collect_if_due(self) -> bool:
        """Do a full collection if its interval is over; return whether it was done."""
        elapsed = self._clock() - self._last
        few = self._held() <= FEW_HELD_CALLS
        if elapsed < (INTERVAL_SECONDS if few else LONGEST_INTERVAL_SECONDS):
            return False
        gc.collect()
        self._last = self._clock()
        return True

    async def run(self) -> None:
        """Collect whenever it is due, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS / 10)
            self.collect_if_due()
