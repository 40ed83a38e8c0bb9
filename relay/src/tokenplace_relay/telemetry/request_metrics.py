"""Counts HTTP requests by method, route and status, and makes three metric families of them.

Counters of prometheus_client would take a lock and a lookup per family for every request. A scrape
comes every few seconds, so the families are made then.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_LABELS: Final = ("method", "route", "status_class", "provider_mode", "outcome")
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram in seconds, without the last one, +Inf."""
_NAMES: Final = (*map(str, _BUCKETS), "+Inf")

_RELAY: Final = "/api/v1/relay"
_CLIENT_ROUTES: Final = tuple(
    f"{_RELAY}/{name}"
    for name in ("servers/next", "requests", "requests/cancel", "responses/retrieve")
)
REGISTER: Final = f"{_RELAY}/servers/register"
POLL: Final = f"{_RELAY}/servers/poll"
NODE_ROUTES: Final = (
    REGISTER, POLL, f"{_RELAY}/servers/control", f"{_RELAY}/servers/unregister",
    f"{_RELAY}/responses", f"{_RELAY}/progress",
)  # fmt: skip
_OPS_ROUTES: Final = ("/healthz", "/livez", "/metrics", "/relay/diagnostics")
_NAMED: Final = frozenset({*_CLIENT_ROUTES, *NODE_ROUTES, *_OPS_ROUTES})


@dataclass(slots=True)
class _Series:
    """The requests of one series: their total seconds, and their number per bucket."""

    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(_NAMES))


class RequestMetrics(Collector):
    """The HTTP requests of one relay."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int], _Series] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; method and route must come from a bounded set."""
        key = (method, route, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.seconds += seconds
        # Bounds are inclusive in Prometheus (`le`), hence bisect_left.
        series.buckets[bisect_left(_BUCKETS, seconds)] += 1

    def describe(self) -> list[Metric]:
        """Return no metrics, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the three families."""
        requests = CounterMetricFamily("tokenplace_http_requests", "HTTP requests", labels=_LABELS)
        durations = HistogramMetricFamily(
            "tokenplace_http_request_duration_seconds",
            "Duration of HTTP requests; polls are held, so leave their route out of objectives",
            labels=_LABELS,
        )
        for labels, series in self._by_labels().items():
            requests.add_metric(labels, sum(series.buckets))
            # Prometheus expects cumulative buckets; they are stored separately, so that count()
            # changes one.
            counts = zip(_NAMES, accumulate(series.buckets), strict=True)
            durations.add_metric(labels, [(name, n) for name, n in counts], series.seconds)
        yield requests
        yield durations
        yield self._by_status()

    def _by_status(self) -> Metric:
        family = CounterMetricFamily(
            "tokenplace_relay_requests",
            "HTTP requests by status",
            labels=("method", "endpoint", "status"),
        )
        for (method, route, status), series in self._series.items():
            family.add_metric((method, route, str(status)), sum(series.buckets))
        return family

    def _by_labels(self) -> dict[tuple[str, ...], _Series]:
        """Return the series with routes and statuses of equal labels added up."""
        result: dict[tuple[str, ...], _Series] = {}
        for (method, route, status), series in self._series.items():
            labels = (method, _label(route), f"{status // 100}xx", "relay", _outcome(status))
            total = result.setdefault(labels, _Series())
            total.seconds += series.seconds
            total.buckets = [a + b for a, b in zip(total.buckets, series.buckets, strict=True)]
        return result


def _label(route: str) -> str:
    """Return the route label of token.place's families, in which rare routes share one."""
    if route in _NAMED:
        return route
    return "/api/v1/*" if route.startswith(("/api/v1/", "/v1/")) else "other"


def _outcome(status: int) -> str:
    if status == 429:
        return "rate_limited"
    return "failed" if status >= 400 else "completed"
