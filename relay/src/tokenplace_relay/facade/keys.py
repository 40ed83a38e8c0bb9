"""RSA for the facade: in threads, and with key pairs that were made before they are needed.

The first request waits for its pair, because a relay whose facade nobody uses needs neither keys
nor the library that makes them.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tokenplace_relay.protocol.envelope import Identity

T = TypeVar("T")


class Keys:
    """Key pairs, each used for one request, so that nodes can tell nobody apart by them.

    A pair takes some 100 ms of a CPU, which a thread spends without holding up the event loop.
    """

    def __init__(self, spare: int) -> None:
        self._pairs: asyncio.Queue[Identity] = asyncio.Queue(spare)
        # Making keys must not stand before sealing and opening, which take a millisecond.
        self._makers = ThreadPoolExecutor(1, "rsa-make")
        self._users = ThreadPoolExecutor(2, "rsa-use")
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Make no more; a pair under way is waited for by nobody."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for threads in (self._makers, self._users):
            threads.shutdown(wait=False, cancel_futures=True)

    async def take(self) -> Identity:
        """A key pair that nobody else has; waits when none is spare."""
        if self._task is None:
            self._task = asyncio.create_task(self._fill(), name="facade keys")
        return await self._pairs.get()

    async def run(self, call: Callable[[], T]) -> T:
        """Seal or open in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._users, call)

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._pairs.put(await loop.run_in_executor(self._makers, Identity.create))
