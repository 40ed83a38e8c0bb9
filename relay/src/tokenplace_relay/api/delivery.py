"""Answers that must arrive: sent by the handler, and reverted when their peer has hung up."""

import asyncio
import contextlib
import select
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from tokenplace_relay.api.app_context import of
from tokenplace_relay.api.request_log import finish_head
from tokenplace_relay.state.errors import StateError

# POLLRDHUP exists on Linux only.
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


async def deliver(
    request: web.BaseRequest,
    response: web.StreamResponse,
    undo: Callable[[], Coroutine[Any, Any, None]],
) -> web.StreamResponse:
    """Send an answer; run undo and raise when its peer is gone.

    A peer that closed its end counts as gone, even before the event loop has noticed. A loss later
    than that, on the wire or behind a proxy, cannot be seen here.
    """
    try:
        if _has_hung_up(request):
            raise ConnectionResetError
        finish_head(request, response)
        await response.prepare(request)
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        await shielded(of(request).undoing, undo())
        raise
    return response


def shielded(running: set[asyncio.Task[None]], undo: Coroutine[Any, Any, None]) -> Awaitable[None]:
    """Run an undo to its end, even when the caller is cancelled; a drain waits for `running`."""

    async def run() -> None:
        # The peer is gone, so an undo that fails has no one to report to: the lease returns the
        # work.
        with contextlib.suppress(StateError):
            await undo

    # The set keeps the task alive: the event loop holds only a weak reference to it.
    task = asyncio.create_task(run(), name="undo")
    running.add(task)
    task.add_done_callback(running.discard)
    return asyncio.shield(task)


def _has_hung_up(request: web.BaseRequest) -> bool:
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), _HUNG_UP)
    return bool(poller.poll(0))
