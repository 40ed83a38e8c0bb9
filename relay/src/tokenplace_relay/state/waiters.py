"""Held calls: each costs one future, and a change wakes those that wait for it."""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from tokenplace_relay.state.digests import Key

K = TypeVar("K", bound=Hashable)

AT_A_TIME: Final = 20
"""Held calls that end in one turn of the event loop, so that other calls run in between."""


class Waiters(Generic[K]):
    """Held calls by the key they wait for; a woken call gets True and checks the state again."""

    def __init__(self) -> None:
        self._waiting: dict[K, deque[asyncio.Future[bool]]] = {}
        self._ending: deque[tuple[asyncio.Future[bool], bool]] = deque()
        self.held = 0

    def wake_one(self, key: K) -> None:
        """Wake the call that has waited longest."""
        for future in self._waiting.get(key, ()):
            # A future that is done belongs to a call that was woken but has not run yet.
            if not future.done():
                future.set_result(True)
                return

    def wake_all_of(self, key: K) -> None:
        """Wake all calls that wait for this key."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(True)

    def release(self) -> None:
        """Wake every call, a few per turn of the event loop."""
        for futures in self._waiting.values():
            for future in futures:
                self._end_in_turn(future, is_woken=True)

    def count(self, key: K) -> int:
        """Number of calls that wait for this key."""
        return len(self._waiting.get(key, ()))

    async def wait(self, key: K, seconds: float) -> bool:
        """Hold a call until it is woken, at most `seconds`; False when the time is over."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        waiting = self._waiting.setdefault(key, deque())
        waiting.append(future)
        self.held += 1
        over = loop.call_later(seconds, self._end_in_turn, future)
        try:
            return await future
        except asyncio.CancelledError:
            # The caller hung up after it was woken, so its wake-up goes to the next call.
            if future.done() and not future.cancelled() and future.result():
                self.wake_one(key)
            raise
        finally:
            over.cancel()
            self.held -= 1
            waiting.remove(future)
            # Keys come from peers, so an empty queue must not stay.
            if not waiting:
                self._waiting.pop(key, None)

    def _end_in_turn(self, future: asyncio.Future[bool], is_woken: bool = False) -> None:
        """End a call soon, not now: thousands that end in one turn would block all other calls."""
        self._ending.append((future, is_woken))
        # With a longer queue the next turn is scheduled already.
        if len(self._ending) == 1:
            asyncio.get_running_loop().call_soon(self._end_some)

    def _end_some(self) -> None:
        for _ in range(min(AT_A_TIME, len(self._ending))):
            future, is_woken = self._ending.popleft()
            if not future.done():
                future.set_result(is_woken)
        if self._ending:
            asyncio.get_running_loop().call_soon(self._end_some)


class PollWaiters(Waiters[str]):
    """Held polls of compute nodes by node key; each queued request wakes one."""


class RetrieveWaiters(Waiters[Key]):
    """Held retrieves of clients (`Prefer: wait`) by request key; a change wakes all of them."""
