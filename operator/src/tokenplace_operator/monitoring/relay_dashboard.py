"""The Grafana dashboard of a relay, as a table of panels.

$SELECT stands for the matchers of the relay, $PROMPT leaves out requests that are held.
"""

from __future__ import annotations

import hashlib
from functools import partial

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.monitoring.panel import Panel, draw
from tokenplace_operator.monitoring.relay_alerts import HELD, selector

PANELS = (
    Panel(
        "Pods that answer",
        "short",
        (("sum(up$SELECT)", "up"), ("count(up$SELECT)", "known")),
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
        "How requests end",
        "reqps",
        (
            (
                "sum by (outcome) (rate(tokenplace_relay_request_outcomes_total$SELECT[5m]))",
                "{{outcome}}",
            ),
        ),
    ),
    Panel(
        "Lost compute nodes",
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
        "Answers by class",
        "reqps",
        (
            (
                "sum by (status_class) (rate(tokenplace_http_requests_total$SELECT[5m]))",
                "{{status_class}}",
            ),
        ),
    ),
    Panel(
        "Time to answer",
        "s",
        tuple(
            (
                f"histogram_quantile({quantile}, sum by (le) (rate("
                "tokenplace_http_request_duration_seconds_bucket$PROMPT[5m])))",
                f"p{quantile * 100:g}",
            )
            for quantile in (0.5, 0.9, 0.99)
        ),
        "Without requests that wait on purpose: polls, held retrieves, and completions.",
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
    """The dashboard as Grafana imports it."""
    name = f"{relay.namespace}/{relay.name}"
    uid = hashlib.sha256(name.encode()).hexdigest()[:16]
    return draw(uid, f"token.place relay {name}", PANELS, partial(_filled, relay))


def _filled(relay: Relay, expression: str) -> str:
    prompt = selector(relay, f'route!~"{HELD}"')
    return expression.replace("$SELECT", selector(relay)).replace("$PROMPT", prompt)
