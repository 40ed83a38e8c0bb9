"""Metrics that are read at each scrape: the state, the held polls, the GPU upstream."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tokenplace_relay.state.machine import StateMachine
from tokenplace_relay.state.waiters import PollWaiters
from tokenplace_relay.upstream import Upstream, Verdict

_OUTCOMES = (
    "completed", "cancelled", "expired", "timed_out", "rate_limited", "dependency_failure",
    "failed",
)  # fmt: skip
_EVICTIONS = ("stale_lease", "unregistered", "capacity_loss")
_CONTROLS = ("active", "cancelled", "expired", "acknowledged", "completed_unavailable")


@dataclass(eq=False)
class StateCollector(Collector):
    """Gauges and counters of one relay."""

    state: StateMachine
    polls: PollWaiters
    upstream: Upstream

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
        now = self.state.now()
        live = list(self.state.live())
        queued = [one for one in live if one.stage == "queued"]
        claimed = [one for one in live if one.stage == "claimed"]
        oldest_queued = max((now - one.created for one in queued), default=0.0)
        oldest_claimed = max((now - one.claimed_at for one in claimed), default=0.0)
        yield _of_relay("tokenplace_relay_queue_depth", "Queued requests", len(queued))
        yield _of_relay(
            "tokenplace_relay_oldest_queued_request_age_seconds", "Waiting longest", oldest_queued
        )
        yield _gauge("tokenplace_relay_in_flight_requests", "Claimed requests", len(claimed))
        yield _gauge(
            "tokenplace_relay_oldest_in_flight_age_seconds", "Claimed longest ago", oldest_claimed
        )
        yield _gauge("tokenplace_relay_held_polls", "Held polls", self.polls.held)
        held = self.state.request_bytes + self.state.answer_bytes
        yield _gauge("tokenplace_relay_state_bytes", "Envelopes kept, in bytes", held)
        kept = len(self.state.requests)
        yield _gauge("tokenplace_relay_state_requests", "Requests remembered, ended ones too", kept)

    def _nodes(self) -> Iterator[Metric]:
        nodes, now = list(self.state.nodes.values()), self.state.now()
        healthy = sum(1 for one in nodes if self.state.is_healthy(one))
        oldest = max((now - one.last_seen for one in nodes), default=0.0)
        yield _gauge("tokenplace_compute_nodes_registered", "Compute nodes", len(nodes))
        yield _gauge("tokenplace_compute_nodes_healthy", "Compute nodes that serve", healthy)
        yield _gauge("tokenplace_compute_node_lease_age_seconds", "Oldest sign of life", oldest)

    def _counters(self) -> Iterator[Metric]:
        counters = self.state.counters
        yield _counter(
            "tokenplace_compute_node_evictions", "reason", counters.evictions, _EVICTIONS
        )
        yield _counter("tokenplace_relay_request_outcomes", "outcome", counters.outcomes, _OUTCOMES)
        yield _counter(
            "tokenplace_relay_compute_control_requests", "state", counters.controls, _CONTROLS
        )
        renewals = CounterMetricFamily(
            "tokenplace_relay_compute_control_lease_renewals", "Leases renewed"
        )
        renewals.add_metric([], counters.lease_renewals)
        yield renewals

    def _upstream(self) -> Iterator[Metric]:
        """Absent in a relay without a GPU upstream, so that no alert can wait for it."""
        if self.upstream.target is None:
            return
        up = self.upstream.verdict.is_up
        yield _gauge("tokenplace_relay_upstream_up", "The GPU upstream answered", float(up))
        yield _gauge(
            "tokenplace_relay_upstream_probe_seconds", "Time of the probe", self.upstream.seconds
        )
        verdicts = tuple(str(one) for one in Verdict if one is not Verdict.UNKNOWN)
        yield _counter(
            "tokenplace_relay_upstream_probes", "verdict", self.upstream.counts, verdicts
        )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _of_relay(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["provider_mode"])
    family.add_metric(["relay"], value)
    return family


def _counter(name: str, label: str, counts: Mapping[str, int], known: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, f"By {label}", labels=[label])
    for one in known:
        family.add_metric([one], counts.get(one, 0))
    return family
