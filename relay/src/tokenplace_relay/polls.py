"""Held calls: each costs one future, and news wakes those that wait for it."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from tokenplace_relay.state import Key

K = TypeVar("K", bound=Hashable)

_AT_A_TIME: Final = 100
"""Held calls that end in one turn of the event loop, so that others get theirs in between."""


class Held(Generic[K]):
    """Held calls by what they wait for."""

    def __init__(self) -> None:
        self._waiting: dict[K, deque[asyncio.Future[None]]] = {}
        self.held = 0

    def wake_one(self, key: K) -> None:
        """Let the call that has waited longest look again."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)
                return

    def wake_all_of(self, key: K) -> None:
        """Let all calls that wait for this look again."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)

    async def release(self) -> None:
        """Let every call look again, some at a time."""
        for number, key in enumerate(list(self._waiting), 1):
            self.wake_all_of(key)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    def count(self, key: K) -> int:
        """Calls that wait for this."""
        return len(self._waiting.get(key, ()))

    async def wait(self, key: K, seconds: float) -> bool:
        """Hold until woken; False when the time is over."""
        future = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, deque())
        waiting.append(future)
        self.held += 1
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        except asyncio.CancelledError:
            # The caller left; what woke it is for the next one.
            if future.done() and not future.cancelled():
                self.wake_one(key)
            raise
        finally:
            self.held -= 1
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(key, None)
        return True


class Polls(Held[str]):
    """Polls of compute nodes by node key; each piece of work wakes one."""


class Retrieves(Held[Key]):
    """Retrieves with `Prefer: wait`, by request; news wakes all."""
