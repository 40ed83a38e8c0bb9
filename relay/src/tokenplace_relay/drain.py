"""The end of a relay, in an order that loses nothing that was accepted."""

import asyncio
from collections.abc import Awaitable, Callable

from tokenplace_relay.api.app_context import Context
from tokenplace_relay.telemetry.logs import get

log = get("tokenplace.relay.drain")

_LOOK_SECONDS = 0.05


async def drain(
    context: Context, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> bool:
    """Drain; True when everything accepted was answered and read before the time was over."""
    config = context.config
    context.draining = True
    log.info("drain: readiness is red", seconds=config.drain_delay)
    await sleep(config.drain_delay)
    context.refusing = True
    context.polls.release()
    context.retrieves.release()
    log.info("drain: nothing new is taken", live=sum(1 for _ in context.state.live()))
    ends = context.state.now() + config.drain_timeout
    while not _is_over(context) and context.state.now() < ends:
        await sleep(_LOOK_SECONDS)
    log.info("drain: closing", complete=context.state.is_idle)
    return context.state.is_idle


def _is_over(context: Context) -> bool:
    """Whether everything accepted was answered and read, and every held call has returned."""
    return context.state.is_idle and not context.polls.held and not context.retrieves.held
