"""Waiting for what another process does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    look: Callable[[], Awaitable[T]], seconds: float = 30.0, every: float = 0.05
) -> T:
    """Look until what is seen is true, and return it; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            if seen := await look():
                return seen
            await asyncio.sleep(every)


async def until(look: Callable[[], bool], seconds: float = 30.0, every: float = 0.005) -> None:
    """Look until what is seen is true; raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            if look():
                return
            await asyncio.sleep(every)
