"""HTTP requests by method, route and status: counted in place, shown as metrics at each scrape.

Each request is counted in three families. Their own counters would take a lock and a look-up for
each, on the path of every request; a scrape comes every few seconds.
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
"""Upper bounds in seconds; what took longer is in a last one without a bound."""
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
class _Seen:
    """Requests of one kind: their seconds in all, and how many took how long."""

    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(_NAMES))


class Tally(Collector):
    """The requests of one relay."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], _Seen] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; method and route must be of a bounded set."""
        key = (method, route, status)
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        seen.seconds += seconds
        seen.buckets[bisect_left(_BUCKETS, seconds)] += 1

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not scrape to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The three families."""
        requests = CounterMetricFamily("tokenplace_http_requests", "HTTP requests", labels=_LABELS)
        durations = HistogramMetricFamily(
            "tokenplace_http_request_duration_seconds",
            "Time per HTTP request; polls are held, so leave their route out of objectives",
            labels=_LABELS,
        )
        for labels, seen in self._by_labels().items():
            requests.add_metric(labels, sum(seen.buckets))
            counts = zip(_NAMES, accumulate(seen.buckets), strict=True)
            durations.add_metric(labels, [(name, n) for name, n in counts], seen.seconds)
        yield requests
        yield durations
        yield self._plain()

    def _plain(self) -> Metric:
        family = CounterMetricFamily(
            "tokenplace_relay_requests",
            "HTTP requests by status",
            labels=("method", "endpoint", "status"),
        )
        for (method, route, status), seen in self._seen.items():
            family.add_metric((method, route, str(status)), sum(seen.buckets))
        return family

    def _by_labels(self) -> dict[tuple[str, ...], _Seen]:
        """What was seen, with routes and statuses that share their labels put together."""
        found: dict[tuple[str, ...], _Seen] = {}
        for (method, route, status), seen in self._seen.items():
            labels = (method, _label(route), f"{status // 100}xx", "relay", _outcome(status))
            one = found.setdefault(labels, _Seen())
            one.seconds += seen.seconds
            one.buckets = [a + b for a, b in zip(one.buckets, seen.buckets, strict=True)]
        return found


def _label(route: str) -> str:
    """The route as token.place's families name it: the rare ones share a name."""
    if route in _NAMED:
        return route
    return "/api/v1/*" if route.startswith(("/api/v1/", "/v1/")) else "other"


def _outcome(status: int) -> str:
    if status == 429:
        return "rate_limited"
    return "failed" if status >= 400 else "completed"
