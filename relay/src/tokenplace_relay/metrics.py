"""The metric families of token.place, in a registry of their own, with bounded labels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tokenplace_relay import __version__

if TYPE_CHECKING:
    from tokenplace_relay.memory import Memory
    from tokenplace_relay.polls import Polls

_LABELS = ("method", "route", "status_class", "provider_mode", "outcome")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OUTCOMES = (
    "completed", "cancelled", "expired", "timed_out", "rate_limited", "dependency_failure",
    "failed",
)  # fmt: skip


class Metrics:
    """What is counted as it happens; the state is read at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "tokenplace_http_requests_total", "HTTP requests", _LABELS, registry=self.registry
        )
        self.durations = Histogram(
            "tokenplace_http_request_duration_seconds",
            "Time per HTTP request",
            _LABELS,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.plain_requests = Counter(
            "tokenplace_relay_requests_total",
            "HTTP requests by method, route and status",
            ("method", "endpoint", "status"),
            registry=self.registry,
        )
        build = Gauge(
            "tokenplace_build_info", "Constant 1", ("version", "revision"), registry=self.registry
        )
        build.labels(__version__, "unknown").set(1)
        up = Gauge("tokenplace_instrumentation_up", "Constant 1", registry=self.registry)
        up.set(1)
        self.loop_lag = Gauge(
            "tokenplace_relay_event_loop_lag_seconds",
            "How late the last tick of the event loop was",
            registry=self.registry,
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        method = method if method in _METHODS else "other"
        outcome = "rate_limited" if status == 429 else "failed" if status >= 400 else "completed"
        labels = (method, route, f"{status // 100}xx", "relay", outcome)
        self.requests.labels(*labels).inc()
        self.durations.labels(*labels).observe(seconds)
        self.plain_requests.labels(method, route, str(status)).inc()


class StateCollector(Collector):
    """Gauges and counters of the state, computed at each scrape."""

    def __init__(self, state: "Memory", polls: "Polls") -> None:
        self._state = state
        self._polls = polls

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not scrape to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the state."""
        yield from self._requests()
        yield from self._nodes()
        yield from self._counters()

    def _requests(self) -> Iterator[Metric]:
        now = self._state.now()
        live = list(self._state.live())
        queued = [one for one in live if one.stage == "queued"]
        claimed = [one for one in live if one.stage == "claimed"]
        oldest_queued = max((now - one.created for one in queued), default=0.0)
        oldest_claimed = max((now - one.claimed_at for one in claimed), default=0.0)
        yield _labelled("tokenplace_relay_queue_depth", "Queued requests", len(queued))
        yield _labelled("tokenplace_relay_oldest_queued_request_age_seconds", "Age", oldest_queued)
        yield _gauge("tokenplace_relay_in_flight_requests", "Claimed requests", len(claimed))
        yield _gauge("tokenplace_relay_oldest_in_flight_age_seconds", "Age", oldest_claimed)
        yield _gauge("tokenplace_relay_held_polls", "Held polls", self._polls.held)
        held = self._state.request_bytes + self._state.answer_bytes
        yield _gauge("tokenplace_relay_state_bytes", "Envelopes kept, in bytes", held)

    def _nodes(self) -> Iterator[Metric]:
        nodes, now = list(self._state.nodes.values()), self._state.now()
        healthy = sum(1 for one in nodes if self._state.is_healthy(one))
        oldest = max((now - one.last_seen for one in nodes), default=0.0)
        yield _gauge("tokenplace_compute_nodes_registered", "Compute nodes", len(nodes))
        yield _gauge("tokenplace_compute_nodes_healthy", "Compute nodes that serve", healthy)
        yield _gauge("tokenplace_compute_node_lease_age_seconds", "Oldest sign of life", oldest)

    def _counters(self) -> Iterator[Metric]:
        counters = self._state.counters
        yield _counter(
            "tokenplace_compute_node_evictions",
            "reason",
            counters.evictions,
            ("stale_lease", "unregistered", "capacity_loss"),
        )
        yield _counter("tokenplace_relay_request_outcomes", "outcome", counters.outcomes, _OUTCOMES)
        states = ("active", "cancelled", "expired", "acknowledged", "completed_unavailable")
        yield _counter(
            "tokenplace_relay_compute_control_requests", "state", counters.controls, states
        )
        renewals = CounterMetricFamily(
            "tokenplace_relay_compute_control_lease_renewals", "Leases renewed"
        )
        renewals.add_metric([], counters.lease_renewals)
        yield renewals


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["provider_mode"])
    family.add_metric(["relay"], value)
    return family


def _counter(name: str, label: str, counts: dict[str, int], known: tuple[str, ...]) -> Metric:
    family = CounterMetricFamily(name, f"By {label}", labels=[label])
    for one in known:
        family.add_metric([one], counts.get(one, 0))
    return family
