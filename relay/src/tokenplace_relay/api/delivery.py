"""Answers that must arrive: written by the handler, and taken back when nobody reads them."""

import asyncio
import select
from collections.abc import Callable
from typing import Final

from aiohttp import web

from tokenplace_relay.api.request_log import finish_head

_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


async def deliver(
    request: web.BaseRequest, response: web.StreamResponse, undo: Callable[[], None]
) -> web.StreamResponse:
    """Write an answer; call undo and raise when its peer is gone.

    A peer that closed its end counts as gone, though the loop has not seen it yet. What gets lost
    later, when the answer leaves at the end of the turn, or behind a proxy, cannot be seen here.
    """
    try:
        if _has_hung_up(request):
            raise ConnectionResetError
        finish_head(request, response)
        await response.prepare(request)
        await response.write_eof()
    except (ConnectionError, asyncio.CancelledError):
        undo()
        raise
    return response


def _has_hung_up(request: web.BaseRequest) -> bool:
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), _HUNG_UP)
    return bool(poller.poll(0))
