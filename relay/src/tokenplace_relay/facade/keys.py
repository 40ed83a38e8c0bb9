"""RSA for the facade: in threads, with key pairs that are made before they are needed.

The first request waits for its pair, because a relay without facade traffic should neither make
keys nor load the library for it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tokenplace_relay.protocol.envelope import Identity

T = TypeVar("T")


class Keys:
    """Key pairs, each used for one request, so that nodes cannot tell callers apart by key.

    Making a pair takes 100 ms of CPU, so a thread does it.
    """

    def __init__(self, spare: int) -> None:
        # The bound of the queue makes the maker pause while enough pairs are spare.
        self._pairs: asyncio.Queue[Identity] = asyncio.Queue(spare)
        # A pool of its own, so that encrypting, which takes 1 ms, never waits for a key pair.
        self._makers = ThreadPoolExecutor(1, "rsa-make")
        self._users = ThreadPoolExecutor(2, "rsa-use")
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Make no more pairs; one in progress is not waited for."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for threads in (self._makers, self._users):
            threads.shutdown(wait=False, cancel_futures=True)

    async def take(self) -> Identity:
        """A key pair that no other request has; waits when none is spare."""
        if self._task is None:
            self._task = asyncio.create_task(self._fill(), name="facade keys")
        return await self._pairs.get()

    async def run(self, call: Callable[[], T]) -> T:
        """Encrypt or decrypt in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._users, call)

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._pairs.put(await loop.run_in_executor(self._makers, Identity.create))
