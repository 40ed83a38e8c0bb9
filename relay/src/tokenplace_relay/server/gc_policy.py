"""When Python looks for garbage in cycles.

Left alone, it goes through every object now and then, and 10,000 held polls are so many that this
takes up to a second, in which nobody is answered. It finds nothing there: what a request leaves
behind is no cycle, or one that a look at young objects finds. So a look at all objects is rare.
"""

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Final

FEW: Final = 1000
"""Held calls with which a look at all objects takes some 10 ms."""
PAUSE_SECONDS: Final = 600.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
"""After this it is done with any number of held calls."""
_NEVER: Final = 1_000_000_000


def settle() -> None:
    """Leave alone what was loaded at the start, and look only at young objects by ourselves."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


class Looks:
    """Decides when to look at all objects; `held` tells how many calls are held."""

    def __init__(
        self, held: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._held = held
        self._clock = clock
        self._last = clock()

    def look(self) -> bool:
        """Look if it is time to; whether it was."""
        pause = self._clock() - self._last
        if pause < (PAUSE_SECONDS if self._held() <= FEW else LONGEST_PAUSE_SECONDS):
            return False
        gc.collect()
        self._last = self._clock()
        return True

    async def forever(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS / 10)
            self.look()
