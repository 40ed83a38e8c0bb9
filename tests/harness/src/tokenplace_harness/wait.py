"""Waits until a condition holds."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], seconds: float = ..., every: float = ...
) -> T: ...


@overload
async def eventually(
    check: Callable[[], bool], seconds: float = ..., every: float = ...
) -> bool: ...


async def eventually(check: Callable[[], Any], seconds: float = 30.0, every: float = 0.005) -> Any:
    """Call `check` until its result is true, and return the result.

    check: a function or coroutine function; seconds: the limit; every: the pause between two
    calls. Raises TimeoutError.
    """
    async with asyncio.timeout(seconds):
        while True:
            result = check()
            if inspect.isawaitable(result):
                result = await result
            if result:
                return result
            await asyncio.sleep(every)
