"""Metrics that are read at each scrape: the state, held polls, the GPU upstream.

A scrape is synchronous and the state is not, so `refresh` is awaited before each scrape.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tokenplace_relay.state.interface import State
from tokenplace_relay.state.results import Totals
from tokenplace_relay.telemetry.metrics import Metrics
from tokenplace_relay.upstream import ProbeResult, Upstream

_OUTCOMES = (
    "completed", "cancelled", "expired", "timed_out", "rate_limited", "dependency_failure",
    "failed",
)  # fmt: skip
_EVICTIONS = ("stale_lease", "unregistered", "capacity_loss")
_CONTROLS = ("active", "cancelled", "expired", "acknowledged", "completed_unavailable")


@dataclass(eq=False)
class StateCollector(Collector):
    """Gauges and counters of one relay."""

    state: State
    metrics: Metrics
    upstream: Upstream
    totals: Totals = field(default_factory=Totals)

    async def refresh(self) -> None:
        """Take the snapshot that the next scrape shows; raises StateUnreachable."""
        self.totals = await self.state.totals()

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not scrape to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read everything, once per scrape."""
        yield from self._requests()
        yield from self._nodes()
        yield from self._counters()
        yield from self._upstream()

    def _requests(self) -> Iterator[Metric]:
        totals = self.totals
        yield _of_relay("tokenplace_relay_queue_depth", "Queued requests", totals.queued)
        yield _of_relay(
            "tokenplace_relay_oldest_queued_request_age_seconds",
            "Age of the oldest queued request",
            totals.oldest_queued_age,
        )
        yield _gauge("tokenplace_relay_in_flight_requests", "Claimed requests", totals.claimed)
        yield _gauge(
            "tokenplace_relay_oldest_in_flight_age_seconds",
            "Seconds since the oldest claim",
            totals.oldest_claimed_age,
        )
        yield _gauge("tokenplace_relay_held_polls", "Held polls", self.state.held_polls)
        held = totals.request_bytes + totals.answer_bytes
        yield _gauge("tokenplace_relay_state_bytes", "Envelopes kept, in bytes", held)
        yield _gauge(
            "tokenplace_relay_state_requests", "Requests kept, ended ones too", totals.requests
        )

    def _nodes(self) -> Iterator[Metric]:
        totals = self.totals
        yield _gauge("tokenplace_compute_nodes_registered", "Compute nodes", totals.nodes)
        yield _gauge(
            "tokenplace_compute_nodes_healthy", "Compute nodes that serve", totals.healthy_nodes
        )
        yield _gauge(
            "tokenplace_compute_node_lease_age_seconds",
            "Longest time since a node's last call",
            totals.oldest_node_age,
        )

    def _counters(self) -> Iterator[Metric]:
        totals = self.totals
        # A request that exceeds a rate never reaches the state.
        outcomes = {**totals.outcomes, "rate_limited": self.metrics.rate_limited_requests}
        yield _counter("tokenplace_compute_node_evictions", "reason", totals.evictions, _EVICTIONS)
        yield _counter("tokenplace_relay_request_outcomes", "outcome", outcomes, _OUTCOMES)
        yield _counter(
            "tokenplace_relay_compute_control_requests", "state", totals.controls, _CONTROLS
        )
        renewals = CounterMetricFamily(
            "tokenplace_relay_compute_control_lease_renewals", "Leases renewed"
        )
        renewals.add_metric([], totals.lease_renewals)
        yield renewals

    def _upstream(self) -> Iterator[Metric]:
        """Absent in a relay without a GPU upstream, so that no alert can wait for it."""
        if self.upstream.target is None:
            return
        up = self.upstream.result.is_up
        yield _gauge("tokenplace_relay_upstream_up", "The GPU upstream answered", float(up))
        yield _gauge(
            "tokenplace_relay_upstream_probe_seconds", "Time of the probe", self.upstream.seconds
        )
        results = tuple(str(result) for result in ProbeResult if result is not ProbeResult.UNKNOWN)
        yield _counter("tokenplace_relay_upstream_probes", "verdict", self.upstream.counts, results)


COLLECTOR: Final = web.AppKey("state_collector", StateCollector)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _of_relay(name: str, text: str, value: float) -> Metric:
    # token.place has this label, and always with the same value.
    family = GaugeMetricFamily(name, text, labels=["provider_mode"])
    family.add_metric(["relay"], value)
    return family


def _counter(name: str, label: str, counts: Mapping[str, int], values: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, f"By {label}", labels=[label])
    # Every label value exists from the start, so that a rate includes its first event.
    for value in values:
        family.add_metric([value], counts.get(value, 0))
    return family
