"""Ends all of kopf's watches when one has failed permanently."""

import asyncio
from typing import Any

import kopf

WATCHER_PREFIX = "watcher for "
"""kopf has no interface for its watch tasks, but it gives them names with this prefix."""


def end_with_the_first(registry: kopf.OperatorRegistry) -> None:
    """Cancel all watches at kopf's cleanup.

    Otherwise kopf cancels them at the very end of its exit, where a watch that is just connecting
    can miss its cancellation, and kopf never ends.
    """

    async def handle(**_: Any) -> None:  # noqa: ANN401
        for task in asyncio.all_tasks():
            if task.get_name().startswith(WATCHER_PREFIX):
                task.cancel()

    # kopf calls its cleanup handlers before that last sweep.
    kopf.on.cleanup(registry=registry)(handle)
