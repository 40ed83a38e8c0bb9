"""Held polls: each costs one future, and each piece of work wakes one of them."""

import asyncio
from collections import deque


class Polls:
    """The held polls of all nodes."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self.held = 0

    def wake(self, key: str) -> None:
        """Let the poll of a node that has waited longest look again."""
        waiting = self._waiting.get(key, ())
        for future in waiting:
            if not future.done():
                future.set_result(None)
                return

    def wake_node(self, key: str) -> None:
        """Let all polls of a node look again."""
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(None)

    def wake_all(self) -> None:
        """Let every poll look again."""
        for key in list(self._waiting):
            self.wake_node(key)

    def count(self, key: str) -> int:
        """Polls that a node holds."""
        return len(self._waiting.get(key, ()))

    async def wait(self, key: str, seconds: float) -> bool:
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
            # The poller left; what woke it is for the next one.
            if future.done() and not future.cancelled():
                self.wake(key)
            raise
        finally:
            self.held -= 1
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(key, None)
        return True
