"""The alerts on a relay, as a table: what is wrong, for how long, how bad, and what to say.

Every alert has a runbook of its name in docs/runbooks, and uses only metrics that the relay has.
Warning: look at it today. Critical: people cannot use the relay.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.quantity import amount
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.api.spec.relay_settings import TIMERS
from tokenplace_operator.monitoring.alert import Alert, rule

HELD = "/api/v1/relay/servers/poll|/api/v1/relay/responses/retrieve|/api/v1/[*]"
"""Routes whose requests wait on purpose: for work, or for an answer."""
FAILURES = "expired|timed_out|dependency_failure|failed"
_DEADLINE = next(one for one in TIMERS if one.field == "requestDeadlineSeconds")


def groups(relay: Relay) -> list[Object]:
    """The rule groups of a PrometheusRule, and of a rule file of Prometheus just as well."""
    found = [*_presence(relay), *_requests(relay), *_nodes(relay), *_process(relay)]
    labels = {"namespace": relay.namespace, "relay": relay.name}
    rules = [rule(alert, labels) for alert in found]
    return [{"name": names.alert_group(relay.name), "rules": rules}]


def selector(relay: Relay, *more: str) -> str:
    """The label matchers of this relay's series; a ServiceMonitor's job is its Service."""
    matchers = (f'namespace="{relay.namespace}"', f'job="{relay.name}"', *more)
    return "{" + ",".join(matchers) + "}"


def _presence(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    yield Alert(
        "TokenplaceRelayDown",
        "critical",
        "5m",
        f"max(up{selector(relay)}) == 0",
        f"Relay {name} answers no scrape.",
        "Prometheus finds the relay's pods but none of them serves /metrics.",
    )
    yield Alert(
        "TokenplaceRelayAbsent",
        "critical",
        "10m",
        f"absent(up{selector(relay)})",
        f"Relay {name} is unknown to Prometheus.",
        "There is no target for the relay: no pod is there, or no Prometheus selects it.",
    )
    yield Alert(
        "TokenplaceRelayMetricsAbsent",
        "warning",
        "15m",
        f"absent(tokenplace_instrumentation_up{selector(relay)}) "
        f"and on () max(up{selector(relay)}) == 1",
        f"Relay {name} is scraped but exports nothing of its own.",
        "The scrape works, yet the relay's metrics are missing: all other alerts are blind.",
    )


def _requests(relay: Relay) -> Iterator[Alert]:
    name, deadline = f"{relay.namespace}/{relay.name}", _deadline(relay)
    oldest = f"max(tokenplace_relay_oldest_queued_request_age_seconds{selector(relay)})"
    for severity, seconds in (("warning", max(1, deadline // 8)), ("critical", deadline // 2)):
        yield Alert(
            "TokenplaceRelayRequestsWait",
            severity,
            "5m",
            f"{oldest} > {seconds}",
            f"Requests wait at relay {name}.",
            "The oldest queued request has waited for {{ $value | humanizeDuration }}; "
            f"it expires after {deadline} s.",
        )
    errors = _rate("tokenplace_http_requests_total", relay, 'status_class="5xx"')
    total = _rate("tokenplace_http_requests_total", relay)
    for severity, lasts, share in (("warning", "10m", 0.01), ("critical", "5m", 0.1)):
        yield Alert(
            "TokenplaceRelayServerErrors",
            severity,
            lasts,
            f"{errors} / {total} > {share}",
            f"Relay {name} answers with server errors.",
            "{{ $value | humanizePercentage }} of the answers are 5xx.",
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
    buckets = selector(relay, f'route!~"{HELD}"')
    yield Alert(
        "TokenplaceRelaySlow",
        "warning",
        "10m",
        "histogram_quantile(0.99, sum by (le) "
        f"(rate(tokenplace_http_request_duration_seconds_bucket{buckets}[5m]))) > 2.5",
        f"Relay {name} answers slowly.",
        "The 99th percentile is {{ $value | humanizeDuration }}, "
        "without requests that wait on purpose.",
    )


def _nodes(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    yield Alert(
        "TokenplaceRelayNoComputeNode",
        "critical",
        "10m",
        f"max(tokenplace_compute_nodes_healthy{selector(relay)}) == 0",
        f"Relay {name} has no compute node.",
        "No registered compute node is healthy: every request is refused or waits.",
    )
    evictions = selector(relay, 'reason="stale_lease"')
    yield Alert(
        "TokenplaceRelayNodesVanish",
        "warning",
        "5m",
        f"sum(increase(tokenplace_compute_node_evictions_total{evictions}[15m])) > 5",
        f"Compute nodes of relay {name} vanish.",
        "{{ $value | humanize }} compute nodes stopped polling within 15 minutes.",
    )


def _process(relay: Relay) -> Iterator[Alert]:
    name = f"{relay.namespace}/{relay.name}"
    yield Alert(
        "TokenplaceRelayRestarts",
        "warning",
        "1m",
        f"max(changes(process_start_time_seconds{selector(relay)}[30m])) > 2",
        f"Relay {name} restarts again and again.",
        "A pod restarted {{ $value }} times within 30 minutes; each time all state is lost.",
    )
    yield Alert(
        "TokenplaceRelayEventLoopBlocked",
        "warning",
        "5m",
        f"max(tokenplace_relay_event_loop_lag_seconds{selector(relay)}) > 0.5",
        f"The event loop of relay {name} is blocked.",
        "The loop is {{ $value | humanizeDuration }} late: everybody waits that long.",
    )
    limit = relay.resources.limits.get("memory")
    if limit is not None:
        yield Alert(
            "TokenplaceRelayMemoryNearLimit",
            "warning",
            "10m",
            f"max(process_resident_memory_bytes{selector(relay)}) > {0.9 * amount(limit):.0f}",
            f"Relay {name} is about to run out of memory.",
            "{{ $value | humanize1024 }}B are in use; at its memory limit the pod is killed.",
        )


def _rate(metric: str, relay: Relay, *more: str) -> str:
    return f"sum(rate({metric}{selector(relay, *more)}[5m]))"


def _deadline(relay: Relay) -> int:
    return dict(relay.settings.numbers).get(_DEADLINE.env, _DEADLINE.default)
