"""The Grafana dashboard of the operator itself, as a table of panels."""

from __future__ import annotations

from functools import partial
from typing import Any

from tokenplace_operator.monitoring.operator_alerts import fill
from tokenplace_operator.monitoring.panel import Panel, draw

_P = "tokenplace_operator"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({_P}_{metric}$SELECT[5m]))"


def _increase(metric: str, by: str) -> str:
    return f"sum by ({by}) (increase({_P}_{metric}$SELECT[15m]))"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    rate = f"sum by (le) (rate({_P}_{metric}_bucket$SELECT[5m]))"
    return tuple(
        (f"histogram_quantile({quantile}, {rate})", f"p{quantile * 100:g}")
        for quantile in (0.5, 0.9, 0.99)
    )


PANELS = (
    Panel(
        "Pods and leader",
        "short",
        (("sum(up$SELECT)", "up"), (f"sum({_P}_leader$SELECT)", "leader")),
    ),
    Panel(
        "Relays",
        "short",
        (
            (f"max by (ready) ({_P}_relays$SELECT)", "ready: {{ready}}"),
            (f"max({_P}_relays_unobserved$SELECT)", "spec newer than status"),
        ),
        "By readiness.",
    ),
    Panel(
        "Conditions",
        "short",
        (
            (
                f"max by (condition, status) ({_P}_relay_condition$SELECT)",
                "{{condition}} {{status}}",
            ),
        ),
        "Relays by condition and status.",
    ),
    Panel("Reconciles", "ops", ((_rate("reconcile_total", "result"), "{{result}}"),)),
    Panel("Reconcile duration", "s", _quantiles("reconcile_duration_seconds")),
    Panel(
        "Errors",
        "short",
        ((_increase("reconcile_errors_total", "reason"), "{{reason}}"),),
        "Failed reconciles within 15 minutes, by reason.",
    ),
    Panel(
        "Queue",
        "short",
        (
            (f"max({_P}_workqueue_depth$SELECT)", "waiting"),
            (f"sum(rate({_P}_workqueue_adds_total$SELECT[5m]))", "added per second"),
            (f"sum(rate({_P}_workqueue_retries_total$SELECT[5m]))", "retried per second"),
        ),
    ),
    Panel("Queue duration", "s", _quantiles("workqueue_queue_duration_seconds")),
    Panel(
        "Running reconciles",
        "s",
        (
            (f"max({_P}_workqueue_longest_running_seconds$SELECT)", "oldest"),
            (f"max({_P}_workqueue_unfinished_work_seconds$SELECT)", "sum"),
            (
                f"histogram_quantile(0.99, sum by (le) "
                f"(rate({_P}_workqueue_work_duration_seconds_bucket$SELECT[5m])))",
                "p99 of finished",
            ),
        ),
        "Their ages in seconds.",
    ),
    Panel("Child resource writes", "ops", ((_rate("apply_total", "result"), "{{result}}"),)),
    Panel(
        "Drift",
        "short",
        (
            (_increase("drift_total", "kind"), "changed {{kind}}"),
            (f"max({_P}_children_in_write_backoff$SELECT)", "in write backoff"),
            (_increase("pruned_total", "kind"), "pruned {{kind}}"),
            (_increase("resync_missed_deletes_total", "kind"), "missed deletion {{kind}}"),
        ),
        "Within 15 minutes: child resources that others changed or that are no longer desired, "
        "and deletions that only a full list showed.",
    ),
    Panel(
        "Status and DNS",
        "short",
        (
            (_increase("status_writes_total", "result"), "status {{result}}"),
            (_increase("gpu_host_lookups_total", "result"), "GPU host {{result}}"),
        ),
        "Status writes and DNS lookups within 15 minutes.",
    ),
    Panel(
        "API server requests",
        "reqps",
        ((_rate("kube_requests_total", "method, code"), "{{method}} {{code}}"),),
        "Code 0: no response.",
    ),
    Panel("API server latency", "s", _quantiles("kube_request_duration_seconds")),
    Panel("Watch events", "ops", ((_rate("watch_events_total", "kind"), "{{kind}}"),)),
    Panel(
        "Event loop lag",
        "s",
        ((f"max by (pod) ({_P}_event_loop_lag_seconds$SELECT)", "{{pod}}"),),
    ),
    Panel(
        "Memory and CPU",
        "short",
        (
            ("max by (pod) (process_resident_memory_bytes$SELECT) / 2^20", "MiB {{pod}}"),
            ("sum by (pod) (rate(process_cpu_seconds_total$SELECT[5m]))", "cores {{pod}}"),
        ),
    ),
    Panel(
        "Version and leader elections",
        "short",
        (
            (f"count by (version) ({_P}_build_info$SELECT)", "{{version}}"),
            (f"sum({_P}_leader_transitions_total$SELECT)", "elections won"),
            (f"sum(rate({_P}_resync_duration_seconds_count$SELECT[1h])) * 3600", "lists per hour"),
        ),
    ),
)


def dashboard(uid: str, namespace: str, job: str) -> dict[str, Any]:
    """Return the dashboard of one operator as JSON for Grafana. job: its metrics Service."""
    filled = partial(fill, namespace=namespace, job=job)
    return draw(uid, f"token.place operator {namespace}/{job}", PANELS, filled)
