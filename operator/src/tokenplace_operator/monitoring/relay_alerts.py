"""The alerts on a relay, as a table: expression, duration, severity and texts.

warning: investigate today. critical: people cannot use the relay.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.quantity import amount
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.api.spec.relay_settings import TIMERS
from tokenplace_operator.monitoring.alert import Alert, rule

HELD_ROUTES = "/api/v1/relay/servers/poll|/api/v1/relay/responses/retrieve|/api/v1/[*]"
"""Routes that hold a request until there is work or an answer."""
FAILURES = "expired|timed_out|dependency_failure|failed"
_DEADLINE = next(timer for timer in TIMERS if timer.field == "requestDeadlineSeconds")


def groups(relay: Relay) -> list[Object]:
    """Return the rule groups of a relay, as PrometheusRules and rule files hold them."""
    alerts = [
        *_presence(relay),
        *_requests(relay),
        *_responses(relay),
        *_nodes(relay),
        *_process(relay),
    ]
    labels = {"namespace": relay.namespace, "relay": relay.name}
    rules = [rule(alert, labels) for alert in alerts]
    return [{"name": names.alert_group(relay.name), "rules": rules}]


def selector(relay: Relay, *more: str) -> str:
    """Return the label matchers of the relay's series; the job is the name of its Service."""
    # prometheus-operator sets the job to the name of the Service, which is the relay's name.
    matchers = (f'namespace="{relay.namespace}"', f'job="{relay.name}"', *more)
    return "{" + ",".join(matchers) + "}"


def _presence(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    yield Alert(
        "TokenplaceRelayDown",
        "critical",
        "5m",
        f"max(up{selector(relay)}) == 0",
        f"Relay {name} does not serve /metrics.",
        "Prometheus has targets for the relay, but every scrape fails.",
    )
    yield Alert(
        "TokenplaceRelayAbsent",
        "critical",
        "10m",
        # absent and not `up == 0`: without a target there is no series that could be 0.
        f"absent(up{selector(relay)})",
        f"Prometheus has no target for relay {name}.",
        "The relay has no pod, or no Prometheus selects its ServiceMonitor.",
    )
    yield Alert(
        "TokenplaceRelayMetricsAbsent",
        "warning",
        "15m",
        f"absent(tokenplace_instrumentation_up{selector(relay)}) "
        # Only with successful scrapes: a relay that is down has its own alert.
        f"and on () max(up{selector(relay)}) == 1",
        f"Relay {name} exports none of its own metrics.",
        "Scrapes succeed, but without the relay's metrics no other alert on it can fire.",
    )


def _requests(relay: Relay) -> Iterator[Alert]:
    name, deadline = f"{relay.namespace}/{relay.name}", _deadline(relay)
    oldest = f"max(tokenplace_relay_oldest_queued_request_age_seconds{selector(relay)})"
    # Relative to the deadline, because a fixed number would never fire for a short deadline.
    for severity, seconds in (("warning", max(1, deadline // 8)), ("critical", deadline // 2)):
        yield Alert(
            "TokenplaceRelayRequestsWait",
            severity,
            "5m",
            f"{oldest} > {seconds}",
            f"Requests wait too long at relay {name}.",
            "The oldest queued request has waited for {{ $value | humanizeDuration }}; "
            f"requests expire after {deadline} s.",
        )
    failed = _rate("tokenplace_relay_request_outcomes_total", relay, f'outcome=~"{FAILURES}"')
    outcomes = _rate("tokenplace_relay_request_outcomes_total", relay)
    yield Alert(
        "TokenplaceRelayRequestsFail",
        "warning",
        "15m",
        f"{failed} / {outcomes} > 0.2",
        f"Requests through relay {name} fail.",
        "{{ $value | humanizePercentage }} of the requests end without an answer.",
    )


def _responses(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    errors = _rate("tokenplace_http_requests_total", relay, 'status_class="5xx"')
    total = _rate("tokenplace_http_requests_total", relay)
    for severity, duration, share in (("warning", "10m", 0.01), ("critical", "5m", 0.1)):
        yield Alert(
            "TokenplaceRelayServerErrors",
            severity,
            duration,
            f"{errors} / {total} > {share}",
            f"Relay {name} returns server errors.",
            "{{ $value | humanizePercentage }} of the responses are 5xx.",
        )
    # Held requests last long by design and would hide slow ones.
    buckets = selector(relay, f'route!~"{HELD_ROUTES}"')
    yield Alert(
        "TokenplaceRelaySlow",
        "warning",
        "10m",
        "histogram_quantile(0.99, sum by (le) "
        f"(rate(tokenplace_http_request_duration_seconds_bucket{buckets}[5m]))) > 2.5",
        f"Relay {name} responds slowly.",
        "The 99th percentile of response times is {{ $value | humanizeDuration }}, "
        "without requests that the relay holds.",
    )


def _nodes(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    yield Alert(
        "TokenplaceRelayNoComputeNode",
        "critical",
        "10m",
        f"max(tokenplace_compute_nodes_healthy{selector(relay)}) == 0",
        f"Relay {name} has no healthy compute node.",
        "No registered compute node is healthy: every request is rejected or waits.",
    )
    evictions = selector(relay, 'reason="stale_lease"')
    yield Alert(
        "TokenplaceRelayNodesVanish",
        "warning",
        "5m",
        f"sum(increase(tokenplace_compute_node_evictions_total{evictions}[15m])) > 5",
        f"Relay {name} loses compute nodes.",
        "{{ $value | humanize }} compute nodes stopped polling within 15 minutes.",
    )


def _process(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    yield Alert(
        "TokenplaceRelayRestarts",
        "warning",
        "1m",
        f"max(changes(process_start_time_seconds{selector(relay)}[30m])) > 2",
        f"Relay {name} restarts repeatedly.",
        "A pod restarted {{ $value }} times within 30 minutes; every restart loses all state.",
    )
    yield Alert(
        "TokenplaceRelayEventLoopBlocked",
        "warning",
        "5m",
        f"max(tokenplace_relay_event_loop_lag_seconds{selector(relay)}) > 0.5",
        f"The event loop of relay {name} is blocked.",
        "The event loop is {{ $value | humanizeDuration }} late, and so is every response.",
    )
    limit = relay.resources.limits.get("memory")
    if limit is not None:
        yield Alert(
            "TokenplaceRelayMemoryNearLimit",
            "warning",
            "10m",
            f"max(process_resident_memory_bytes{selector(relay)}) > {0.9 * amount(limit):.0f}",
            f"Relay {name} is close to its memory limit.",
            "{{ $value | humanize1024 }}B are in use. At the limit, the kernel kills the pod.",
        )


def _rate(metric: str, relay: Relay, *more: str) -> str:
    return f"sum(rate({metric}{selector(relay, *more)}[5m]))"


def _deadline(relay: Relay) -> int:
    # `numbers` holds only values that differ from the default.
    return dict(relay.settings.numbers).get(_DEADLINE.env, _DEADLINE.default)
