"""Faults for drills: slow answers, failing answers, a red readiness; all off unless set."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from tokenplace_relay.api.app_context import Handler
from tokenplace_relay.server.response import ApiError
from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.logs import get

log = get("tokenplace.relay.faults")

SPARED: Final = frozenset({"/livez", "/healthz", "/metrics"})
"""Probes and scrapes tell the truth in a drill, but for the readiness that was asked to be red."""

_ROUNDING: Final = 1e-9


@dataclass(slots=True)
class Faults:
    """Delay each API answer, and fail an exact part of them: no dice, so that drills repeat."""

    delay: float
    error_rate: float
    _owed: float = 0.0

    async def strike(self, path: str) -> None:
        """Delay a call, and raise when it is its turn to fail."""
        if path in SPARED:
            return
        await asyncio.sleep(self.delay)
        self._owed += self.error_rate
        if self._owed > 1 - _ROUNDING:
            self._owed -= 1
            raise ApiError(500, "This failure was asked for by a drill", "injected_fault")


def switch(config: Config) -> Callable[[Handler], Handler]:
    """What goes around each handler: nothing without a fault, else a strike before it."""
    if config.fault_unready:
        log.warning("fault switch is on: /healthz answers 503")
    if not (config.fault_delay or config.fault_error_rate):
        return lambda handler: handler
    faults = Faults(config.fault_delay, config.fault_error_rate)
    log.warning("fault switch is on", delay=faults.delay, error_rate=faults.error_rate)

    def struck(handler: Handler) -> Handler:
        async def faulty(request: web.Request) -> web.StreamResponse:
            await faults.strike(request.path)
            return await handler(request)

        return faulty

    return struck
