"""The metric families of token.place, in a registry of their own, with bounded labels."""

from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from tokenplace_relay import release
from tokenplace_relay.config import Config

_LABELS: Final = ("method", "route", "status_class", "provider_mode", "outcome")
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_RELAY: Final = "/api/v1/relay"
_CLIENT_ROUTES: Final = tuple(
    f"{_RELAY}/{name}"
    for name in ("servers/next", "requests", "requests/cancel", "responses/retrieve")
)
_REGISTER: Final = f"{_RELAY}/servers/register"
_POLL: Final = f"{_RELAY}/servers/poll"
_NODE_ROUTES: Final = (
    _REGISTER, _POLL, f"{_RELAY}/servers/control", f"{_RELAY}/servers/unregister",
    f"{_RELAY}/responses", f"{_RELAY}/progress",
)  # fmt: skip
_OPS_ROUTES: Final = ("/healthz", "/livez", "/metrics", "/relay/diagnostics")
_NAMED: Final = frozenset({*_CLIENT_ROUTES, *_NODE_ROUTES, *_OPS_ROUTES})
_FAILURES: Final = {
    400: "invalid", 401: "unauthorized", 404: "unknown_node", 408: "invalid", 413: "invalid",
    415: "invalid", 429: "rate_limited", 503: "unavailable",
}  # fmt: skip
_REASONS: Final = (*dict.fromkeys(_FAILURES.values()), "other")
_CLASSES: Final = ("client", "node", "other")


@dataclass(frozen=True, slots=True)
class _Series:
    """The series that one kind of HTTP request moves; looked up once."""

    requests: Counter
    durations: Histogram
    plain: Counter


class Metrics:
    """What is counted as it happens; the state is read at each scrape."""

    def __init__(self, config: Config) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("tokenplace_http_requests", "HTTP requests", *_LABELS)
        self._durations = Histogram(
            "tokenplace_http_request_duration_seconds",
            "Time per HTTP request; polls are held, so leave their route out of objectives",
            _LABELS,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._plain = self._counter(
            "tokenplace_relay_requests", "HTTP requests by status", "method", "endpoint", "status"
        )
        self._registration_failures = self._counter(
            "tokenplace_relay_registration_failures", "Registrations refused", "reason"
        )
        self._poll_failures = self._counter(
            "tokenplace_relay_poll_failures", "Polls refused", "reason"
        )
        self._rate_limited = self._counter(
            "tokenplace_relay_rate_limited", "Answers with 429, by kind of peer", "class"
        )
        build = self._gauge("tokenplace_build_info", "Constant 1", "version", "revision")
        build.labels(release.version(config), release.revision(config) or "unknown").set(1)
        self._gauge("tokenplace_instrumentation_up", "Constant 1").set(1)
        self.loop_lag = self._gauge(
            "tokenplace_relay_event_loop_lag_seconds",
            "How late the last tick of the event loop was",
        )
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._start_at_zero()

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request; route is the pattern of the router, never what a peer wrote."""
        key = (method if method in _METHODS else "other", route, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._find(*key)
        series.requests.inc()
        series.durations.observe(seconds)
        series.plain.inc()
        if status >= 400:
            self._count_failure(route, status)

    def _find(self, method: str, route: str, status: int) -> _Series:
        outcome = "rate_limited" if status == 429 else "failed" if status >= 400 else "completed"
        labels = (method, label(route), f"{status // 100}xx", "relay", outcome)
        return _Series(
            self._requests.labels(*labels),
            self._durations.labels(*labels),
            self._plain.labels(method, route, str(status)),
        )

    def _count_failure(self, route: str, status: int) -> None:
        reason = _FAILURES.get(status, "other")
        if route == _REGISTER:
            self._registration_failures.labels(reason).inc()
        if route == _POLL:
            self._poll_failures.labels(reason).inc()
        if status == 429:
            self._rate_limited.labels(_class(route)).inc()

    def _start_at_zero(self) -> None:
        """Make the series of fixed labels, so that a rate over the first one is right."""
        for reason in _REASONS:
            self._registration_failures.labels(reason)
            self._poll_failures.labels(reason)
        for name in _CLASSES:
            self._rate_limited.labels(name)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


def label(route: str) -> str:
    """The route as token.place's families name it: the rare ones share a name."""
    if route in _NAMED:
        return route
    return "/api/v1/*" if route.startswith(("/api/v1/", "/v1/")) else "other"


def _class(route: str) -> str:
    if route in _NODE_ROUTES:
        return "node"
    return "client" if route.startswith(("/api/v1/", "/v1/")) else "other"
