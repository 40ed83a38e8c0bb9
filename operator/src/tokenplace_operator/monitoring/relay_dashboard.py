"""The Grafana dashboard of a relay, as a table of panels.

$SELECT is the placeholder for the relay's label matchers, $PROMPT for those without held requests.
"""

from __future__ import annotations

import hashlib
from functools import partial

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.monitoring.panel import Panel, draw
from tokenplace_operator.monitoring.relay_alerts import HELD_ROUTES, selector

PANELS = (
    Panel(
        "Pods",
        "short",
        (("sum(up$SELECT)", "up"), ("count(up$SELECT)", "expected")),
    ),
    Panel(
        "Compute nodes",
        "short",
        (
            ("max(tokenplace_compute_nodes_registered$SELECT)", "registered"),
            ("max(tokenplace_compute_nodes_healthy$SELECT)", "healthy"),
        ),
    ),
    Panel(
        "Requests",
        "short",
        (
            ("sum(tokenplace_relay_queue_depth$SELECT)", "queued"),
            ("sum(tokenplace_relay_in_flight_requests$SELECT)", "in flight"),
            ("sum(tokenplace_relay_held_polls$SELECT)", "held polls"),
        ),
    ),
    Panel(
        "Oldest request",
        "s",
        (
            ("max(tokenplace_relay_oldest_queued_request_age_seconds$SELECT)", "queued"),
            ("max(tokenplace_relay_oldest_in_flight_age_seconds$SELECT)", "in flight"),
        ),
    ),
    Panel(
        "Request outcomes",
        "reqps",
        (
            (
                "sum by (outcome) (rate(tokenplace_relay_request_outcomes_total$SELECT[5m]))",
                "{{outcome}}",
            ),
        ),
    ),
    Panel(
        "Evicted compute nodes",
        "short",
        (
            (
                "sum by (reason) (increase(tokenplace_compute_node_evictions_total$SELECT[15m]))",
                "{{reason}}",
            ),
        ),
        "Within 15 minutes, by reason.",
    ),
    Panel(
        "Responses by status class",
        "reqps",
        (
            (
                "sum by (status_class) (rate(tokenplace_http_requests_total$SELECT[5m]))",
                "{{status_class}}",
            ),
        ),
    ),
    Panel(
        "Response time",
        "s",
        tuple(
            (
                f"histogram_quantile({quantile}, sum by (le) (rate("
                "tokenplace_http_request_duration_seconds_bucket$PROMPT[5m])))",
                f"p{quantile * 100:g}",
            )
            for quantile in (0.5, 0.9, 0.99)
        ),
        "Without held requests: polls, retrievals and completions.",
    ),
    Panel(
        "Event loop lag",
        "s",
        (("max by (pod) (tokenplace_relay_event_loop_lag_seconds$SELECT)", "{{pod}}"),),
    ),
    Panel(
        "Memory",
        "bytes",
        (
            ("max by (pod) (process_resident_memory_bytes$SELECT)", "{{pod}}"),
            ("max by (pod) (tokenplace_relay_state_bytes$SELECT)", "envelopes {{pod}}"),
        ),
    ),
    Panel(
        "CPU",
        "short",
        (("sum by (pod) (rate(process_cpu_seconds_total$SELECT[5m]))", "{{pod}}"),),
        "Cores in use.",
    ),
    Panel(
        "Version",
        "short",
        (("count by (version) (tokenplace_build_info$SELECT)", "{{version}}"),),
        "Pods by version.",
    ),
)


def dashboard(relay: Relay) -> Object:
    """Return the dashboard of a relay as JSON for Grafana."""
    name = f"{relay.namespace}/{relay.name}"
    # Grafana allows at most 40 characters in a uid, and namespace and name together can be longer.
    uid = hashlib.sha256(name.encode()).hexdigest()[:16]
    return draw(uid, f"token.place relay {name}", PANELS, partial(_fill, relay))


def _fill(relay: Relay, expression: str) -> str:
    prompt = selector(relay, f'route!~"{HELD_ROUTES}"')
    return expression.replace("$SELECT", selector(relay)).replace("$PROMPT", prompt)
