"""The drain: the end of a relay, in an order that loses no accepted request."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tokenplace_relay.api.app_context import Context
from tokenplace_relay.telemetry.logs import get

log = get("tokenplace.relay.drain")

_CHECK_SECONDS = 0.05


async def drain(
    context: Context,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Drain; True when every accepted request was answered and read within `drain_timeout`."""
    config, state = context.config, context.state
    context.draining = True
    log.info("draining: readiness is red", seconds=config.drain_delay)
    # Load balancers need time to react to the red readiness; calls until then are still accepted.
    await sleep(config.drain_delay)
    # This order matters: a released poll must already get the pause of a draining relay, so that
    # its node waits for the successor.
    context.refusing = True
    await state.release()
    owed = await state.owed()
    log.info("draining: rejecting new requests", live=owed.requests)
    ends = clock() + config.drain_timeout
    # An undo that still runs may put a request back into its queue, so the process waits for it.
    while (owed.requests or owed.held or context.undoing) and clock() < ends:
        await sleep(_CHECK_SECONDS)
        owed = await state.owed()
    log.info("draining: closing", complete=not owed.requests)
    return not owed.requests
