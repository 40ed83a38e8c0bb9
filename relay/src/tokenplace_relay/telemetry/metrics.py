"""The metric families of token.place, in a registry per relay, with bounded label values."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.process_collector import ProcessCollector

from tokenplace_relay.settings import release
from tokenplace_relay.settings.config import Config
from tokenplace_relay.telemetry.request_metrics import NODE_ROUTES, POLL, REGISTER, RequestMetrics

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_FAILURES: Final = {
    400: "invalid", 401: "unauthorized", 404: "unknown_node", 408: "invalid", 413: "invalid",
    415: "invalid", 429: "rate_limited", 503: "unavailable",
}  # fmt: skip
_REASONS: Final = (*dict.fromkeys(_FAILURES.values()), "other")
_SUBMIT: Final = "/api/v1/relay/requests"
_CLASSES: Final = ("client", "node", "other")


class Metrics:
    """Metrics that are counted as events happen; StateCollector reads the state at each scrape."""

    def __init__(self, config: Config) -> None:
        # The global registry refuses a second family of the same name, and tests run several relays
        # in one process.
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = RequestMetrics()
        self.registry.register(self._requests)
        self._registration_failures = self._counter(
            "tokenplace_relay_registration_failures", "Rejected registrations", "reason"
        )
        self._poll_failures = self._counter(
            "tokenplace_relay_poll_failures", "Rejected polls", "reason"
        )
        self._rate_limited = self._counter(
            "tokenplace_relay_rate_limited", "Responses with 429, by class of caller", "class"
        )
        build = self._gauge(
            "tokenplace_build_info", "Always 1; the labels name the build", "version", "revision"
        )
        build.labels(release.version(config), release.revision(config) or "unknown").set(1)
        self._gauge("tokenplace_instrumentation_up", "Always 1").set(1)
        self.loop_lag = self._gauge(
            "tokenplace_relay_event_loop_lag_seconds",
            "Delay of the last tick of the event loop",
        )
        self.rate_limited_requests = 0
        """Requests that were refused with 429; an outcome that the state does not know."""
        self._start_at_zero()

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request; route: the route pattern, never a path from a request."""
        self._requests.count(method if method in _METHODS else "other", route, status, seconds)
        if status >= 400:
            self._count_failure(route, status)

    def _count_failure(self, route: str, status: int) -> None:
        reason = _FAILURES.get(status, "other")
        if route == REGISTER:
            self._registration_failures.labels(reason).inc()
        if route == POLL:
            self._poll_failures.labels(reason).inc()
        if status == 429 and route == _SUBMIT:
            self.rate_limited_requests += 1
        if status == 429:
            self._rate_limited.labels(_caller_class(route)).inc()

    def _start_at_zero(self) -> None:
        """Create the series with 0, so that rate() sees the first increment."""
        for reason in _REASONS:
            self._registration_failures.labels(reason)
            self._poll_failures.labels(reason)
        for name in _CLASSES:
            self._rate_limited.labels(name)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        # prometheus_client appends _total to the name.
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)


def _caller_class(route: str) -> str:
    if route in NODE_ROUTES:
        return "node"
    return "client" if route.startswith(("/api/v1/", "/v1/")) else "other"
