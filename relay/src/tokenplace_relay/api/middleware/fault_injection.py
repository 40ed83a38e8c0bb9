"""Injects faults for drills: slow or failing responses, failing readiness; off by default."""

import asyncio
from dataclasses import dataclass
from typing import Final

from tokenplace_relay.server.response import ApiError
from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.logs import get

log = get("tokenplace.relay.faults")

EXEMPT: Final = frozenset({"/livez", "/healthz", "/metrics"})
"""Probes and scrapes stay correct in a drill, except for a readiness that is set to fail."""

_ROUNDING: Final = 1e-9


@dataclass(slots=True)
class FaultInjector:
    """Delays every API response, and fails an exact share of them: drills are repeatable."""

    delay: float
    """Seconds."""
    error_rate: float
    """From 0 to 1."""
    _debt: float = 0.0

    async def inject(self, path: str) -> None:
        """Delay a call; raises ApiError 500 for the calls that must fail."""
        if path in EXEMPT:
            return
        await asyncio.sleep(self.delay)
        # A debt and not a random draw, so that exactly this share of the calls fails.
        self._debt += self.error_rate
        # Ten additions of 0.1 do not give exactly 1.
        if self._debt > 1 - _ROUNDING:
            self._debt -= 1
            raise ApiError(500, "This failure was injected for a drill", "injected_fault")


def make_injector(config: Config) -> FaultInjector | None:
    """Return the injector of a relay, or None if no delay and no error rate is set."""
    if config.fault_unready:
        log.warning("fault injection is on: /healthz answers 503")
    if not (config.fault_delay or config.fault_error_rate):
        return None
    log.warning(
        "fault injection is on", delay=config.fault_delay, error_rate=config.fault_error_rate
    )
    return FaultInjector(config.fault_delay, config.fault_error_rate)
