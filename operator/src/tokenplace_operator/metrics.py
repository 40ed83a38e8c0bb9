"""All metrics of the operator, in a registry of their own.

One object is made at the start and passed to each part that counts. Labels are bounded: no names
of relays, and no words that a server or a user may choose. A counter whose labels are known starts
at 0, so that Prometheus sees its first increase. Times are in seconds.
"""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tokenplace_operator import __version__
from tokenplace_operator.api.conditions import Type, is_unobserved
from tokenplace_operator.api.kinds import CHILD_KINDS, OPTIONAL_CHILD_KINDS, RELAY

PREFIX = "tokenplace_operator"
REASONS = (
    *("Unauthorized", "Forbidden", "NotFound", "AlreadyExists", "Conflict", "Gone", "Invalid"),
    *("BadRequest", "MethodNotAllowed", "NotAcceptable", "UnsupportedMediaType", "Expired"),
    *("RequestEntityTooLarge", "TooManyRequests", "InternalError", "ServiceUnavailable"),
    *("ServerTimeout", "Timeout", "NotLeading", "NoAnswer", "Bug", "Other"),
)
"""Reasons of failed reconciles: those of the API, those of our own, and Other for the rest."""
STATUSES = ("True", "False", "Unknown")
_TYPES = frozenset(Type)
_CHILDREN = tuple(kind.kind for kind in (*CHILD_KINDS, *OPTIONAL_CHILD_KINDS))

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metric objects, grouped by the part that counts them."""

    def __init__(self) -> None:
        # A second object, as in tests, would clash with the names in the global registry.
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._build_info()
        self._queue()
        self._reconcile()
        self._kube()
        self._leadership()
        self._begin_at_zero()

    def failed(self, code: int, reason: str) -> None:
        """Count a failed reconcile; code 0: the API server did not answer."""
        # A server or a webhook may send any reason, and labels must stay bounded.
        other = "Other" if code else "NoAnswer"
        self.reconciles.labels("error").inc()
        self.reconcile_errors.labels(reason if reason in REASONS else other).inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _seconds(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, registry=self.registry, buckets=_FAST)

    def _build_info(self) -> None:
        info = self._gauge("build_info", "Constant 1; the version is in the label", "version")
        info.labels(__version__).set(1)
        self.event_loop_lag = self._gauge(
            "event_loop_lag_seconds", "How late the last tick of the event loop was"
        )

    def _queue(self) -> None:
        self.queue_depth = self._gauge("workqueue_depth", "Keys that wait for a worker")
        self.queue_adds = self._counter("workqueue_adds_total", "Keys that entered the queue")
        self.queue_retries = self._counter("workqueue_retries_total", "Keys retried after failing")
        self.queue_wait = self._seconds(
            "workqueue_queue_duration_seconds", "Time a key waited for a worker"
        )
        self.queue_work = self._seconds(
            "workqueue_work_duration_seconds", "Time a worker held a key"
        )
        self.queue_unfinished = self._gauge(
            "workqueue_unfinished_work_seconds", "Sum of the ages of all running reconciles"
        )
        self.queue_longest = self._gauge(
            "workqueue_longest_running_seconds", "Age of the oldest running reconcile"
        )

    def _reconcile(self) -> None:
        self.reconciles = self._counter(
            "reconcile_total", "Reconciles by result: ok, requeued, error", "result"
        )
        self.reconcile_duration = self._seconds("reconcile_duration_seconds", "Time per reconcile")
        self.reconcile_errors = self._counter(
            "reconcile_errors_total", "Failed reconciles by reason", "reason"
        )
        self.applies = self._counter(
            "apply_total",
            "Children by kind and what was done: applied, skipped, conflict, error",
            "kind",
            "result",
        )
        self.drift = self._counter("drift_total", "Child resources that had drifted", "kind")
        self.backed_off = self._gauge(
            "children_in_write_backoff", "Child resources that another writer keeps reverting"
        )
        self.pruned = self._counter(
            "pruned_total", "Child resources deleted because they are no longer desired", "kind"
        )
        self.status_writes = self._counter(
            "status_writes_total", "Writes of a relay's status: applied, error", "result"
        )
        self.gpu_lookups = self._counter(
            "gpu_host_lookups_total", "Questions to DNS for GPU hosts: answered, failed", "result"
        )

    def _kube(self) -> None:
        self.kube_requests = self._counter(
            "kube_requests_total", "Requests to the API server; code 0: no answer", "method", "code"
        )
        self.kube_request_duration = self._seconds(
            "kube_request_duration_seconds", "Time until the answer's headers", "method"
        )
        self.watch_events = self._counter("watch_events_total", "Watch events", "kind", "type")
        self.resync_duration = self._seconds("resync_duration_seconds", "Time of a full resync")
        self.resync_missed_deletes = self._counter(
            "resync_missed_deletes_total", "Deleted objects that only a resync noticed", "kind"
        )

    def _leadership(self) -> None:
        self.leader = self._gauge("leader", "1 while this process holds the Lease")
        self.leader_transitions = self._counter(
            "leader_transitions_total", "How often this process won or lost the Lease"
        )

    def _begin_at_zero(self) -> None:
        for result in ("ok", "requeued", "error"):
            self.reconciles.labels(result)
        for reason in REASONS:
            self.reconcile_errors.labels(reason)
        for kind in _CHILDREN:
            for result in ("applied", "skipped", "conflict", "error"):
                self.applies.labels(kind, result)
            self.drift.labels(kind)
            self.pruned.labels(kind)
        for kind in (RELAY.kind, *_CHILDREN):
            self.resync_missed_deletes.labels(kind)
        for result in ("applied", "error"):
            self.status_writes.labels(result)
        for result in ("answered", "failed"):
            self.gpu_lookups.labels(result)

    def count_relays(self, relays: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Count, at each scrape, the relays that the callable returns."""
        self.registry.register(_Relays(relays))


class _Relays(Collector):
    """Numbers of relays by readiness, and by condition and its status: never by name."""

    def __init__(self, relays: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._relays = relays

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not scrape to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read the conditions of every relay."""
        ready: Counts[str] = Counts(dict.fromkeys(STATUSES, 0))
        by_condition: Counts[tuple[str, ...]] = Counts(
            {(kind.value, status): 0 for kind in Type for status in STATUSES}
        )
        relays = tuple(self._relays())
        # Most relays have the same conditions, so each set is read once.
        for conditions, number in Counts(map(_conditions, relays)).items():
            statuses = _statuses(conditions)
            ready[statuses.get(Type.READY, "Unknown")] += number
            by_condition.update(dict.fromkeys(statuses.items(), number))
        unobserved = sum(map(is_unobserved, relays))
        yield self._family(
            "relays", "Relays by readiness", ["ready"], {(k,): ready[k] for k in ready}
        )
        yield self._family(
            "relay_condition",
            "Relays by condition and its status",
            ["condition", "status"],
            by_condition,
        )
        yield self._family(
            "relays_unobserved", "Relays with a newer spec than their status", [], {(): unobserved}
        )

    def _family(
        self, name: str, text: str, labels: list[str], numbers: Mapping[tuple[str, ...], int]
    ) -> Metric:
        family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)
        for values, number in numbers.items():
            family.add_metric(values, number)
        return family


def _conditions(relay: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Type and status of each condition of a relay."""
    conditions = relay.get("status", {}).get("conditions", ())
    return tuple([(item["type"], item["status"]) for item in conditions])


def _statuses(conditions: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Status by type, of our own conditions; other writers may add further ones to the list."""
    return {kind: status for kind, status in conditions if kind in _TYPES and status in STATUSES}
