"""The alerts on the operator itself, as a table. $SELECT stands for the matchers of its series.

Warning: look at it today. Critical: no relay is kept right any more; those that run go on running.
The chart brings them; deploy/charts/generate.py writes them there from here.
"""

from __future__ import annotations

from typing import Any

from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.monitoring.alert import Alert, rule

PRESENCE = (
    Alert(
        "TokenplaceOperatorDown",
        "critical",
        "5m",
        "max(up$SELECT) == 0",
        "The operator answers no scrape.",
        "Prometheus finds the operator's pods but none of them serves /metrics.",
    ),
    Alert(
        "TokenplaceOperatorAbsent",
        "critical",
        "10m",
        "absent(up$SELECT)",
        "The operator is unknown to Prometheus.",
        "There is no target for the operator: no pod is there, or no Prometheus selects it.",
    ),
    Alert(
        "TokenplaceOperatorNoLeader",
        "critical",
        "5m",
        "max(tokenplace_operator_leader$SELECT) == 0",
        "No pod of the operator leads.",
        "Pods run, but none of them holds the Lease, so nothing is reconciled.",
    ),
    Alert(
        "TokenplaceOperatorTwoLeaders",
        "critical",
        "3m",
        "sum(tokenplace_operator_leader$SELECT) > 1",
        "More than one pod of the operator leads.",
        "{{ $value }} pods of one installation hold that they lead.",
    ),
    Alert(
        "TokenplaceOperatorRestarts",
        "warning",
        "1m",
        "max(changes(process_start_time_seconds$SELECT[30m])) > 2",
        "The operator restarts again and again.",
        "A pod restarted {{ $value }} times within 30 minutes.",
    ),
    Alert(
        "TokenplaceOperatorEventLoopBlocked",
        "warning",
        "5m",
        "max(tokenplace_operator_event_loop_lag_seconds$SELECT) > 0.5",
        "The event loop of the operator is blocked.",
        "The loop is {{ $value | humanizeDuration }} late.",
    ),
)
WORK = (
    Alert(
        "TokenplaceOperatorReconcileErrors",
        "warning",
        "30m",
        "sum(increase(tokenplace_operator_reconcile_errors_total$SELECT[15m])) > 2",
        "Reconciles fail again and again.",
        "{{ $value | humanize }} reconciles failed within 15 minutes, for half an hour now.",
    ),
    Alert(
        "TokenplaceOperatorReconcileErrors",
        "critical",
        "15m",
        'sum(rate(tokenplace_operator_reconcile_total{result="error",$MATCH}[10m]))'
        " / sum(rate(tokenplace_operator_reconcile_total$SELECT[10m])) > 0.5",
        "Most reconciles fail.",
        "{{ $value | humanizePercentage }} of the reconciles fail.",
    ),
    Alert(
        "TokenplaceOperatorBug",
        "warning",
        "0m",
        'sum(increase(tokenplace_operator_reconcile_errors_total{reason="Bug",$MATCH}[1h])) > 0',
        "The operator has a fault.",
        "A reconcile crashed {{ $value | humanize }} times within an hour.",
    ),
    Alert(
        "TokenplaceOperatorQueueSlow",
        "warning",
        "15m",
        "histogram_quantile(0.99, sum by (le) "
        "(rate(tokenplace_operator_workqueue_queue_duration_seconds_bucket$SELECT[10m]))) > 5",
        "Relays wait for a worker.",
        "One in a hundred waits for more than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "TokenplaceOperatorQueueStalled",
        "critical",
        "5m",
        "max(tokenplace_operator_workqueue_depth$SELECT) > 0 and on () "
        "sum(rate(tokenplace_operator_reconcile_total$SELECT[5m])) == 0",
        "The operator has work and does none.",
        "{{ $value }} relays wait, and no reconcile has ended for 5 minutes.",
    ),
    Alert(
        "TokenplaceOperatorConflictingWrites",
        "warning",
        "15m",
        "max(tokenplace_operator_children_in_write_backoff$SELECT) > 0",
        "Somebody keeps changing what the operator owns.",
        "{{ $value }} children are undone each time they are written.",
    ),
    Alert(
        "TokenplaceOperatorFieldConflicts",
        "warning",
        "15m",
        "sum by (kind) "
        '(increase(tokenplace_operator_apply_total{result="conflict",$MATCH}[1h])) > 2',
        "Another program claims fields that the operator owns.",
        "{{ $labels.kind }}: {{ $value | humanize }} conflicts within an hour.",
    ),
)
SURROUNDINGS = (
    *(
        Alert(
            "TokenplaceOperatorApiErrors",
            severity,
            lasts,
            'sum(rate(tokenplace_operator_kube_requests_total{code=~"0|429|5..",$MATCH}[5m]))'
            f" / sum(rate(tokenplace_operator_kube_requests_total$SELECT[5m])) > {share}",
            "The API server does not answer the operator as it should.",
            "{{ $value | humanizePercentage }} of its requests have no answer, 429 or 5xx.",
        )
        for severity, lasts, share in (("warning", "15m", 0.05), ("critical", "10m", 0.5))
    ),
    Alert(
        "TokenplaceOperatorForbidden",
        "warning",
        "15m",
        'sum(increase(tokenplace_operator_kube_requests_total{code=~"401|403",$MATCH}[15m])) > 2',
        "The API server forbids the operator what it asks for.",
        "{{ $value | humanize }} requests were refused within 15 minutes.",
    ),
    Alert(
        "TokenplaceOperatorStatusWritesFail",
        "warning",
        "15m",
        'sum(increase(tokenplace_operator_status_writes_total{result="error",$MATCH}[15m])) > 2',
        "What the operator sees does not reach the status of relays.",
        "{{ $value | humanize }} writes of a status failed within 15 minutes.",
    ),
    Alert(
        "TokenplaceOperatorWatchMisses",
        "warning",
        "0m",
        "sum by (kind) (increase(tokenplace_operator_resync_missed_deletes_total$SELECT[1h])) > 0",
        "A watch lost events.",
        "{{ $labels.kind }}: {{ $value | humanize }} deletions were noticed only by a full list.",
    ),
    Alert(
        "TokenplaceOperatorGPUHostUnresolved",
        "warning",
        "15m",
        "sum(increase("
        'tokenplace_operator_gpu_host_lookups_total{result="failed",$MATCH}[10m])) > 2',
        "The name of a GPU host is not resolved.",
        "{{ $value | humanize }} questions to DNS failed within 10 minutes.",
    ),
)
RELAYS = (
    Alert(
        "TokenplaceOperatorRelaysStale",
        "warning",
        "10m",
        "max(tokenplace_operator_relays_unobserved$SELECT) > 0",
        "Changes of relays are not taken in.",
        "{{ $value }} relays have a newer spec than their status speaks of.",
    ),
    Alert(
        "TokenplaceOperatorRelaysStalled",
        "warning",
        "15m",
        'max(tokenplace_operator_relay_condition{condition="Stalled",status="True",$MATCH}) > 0',
        "Relays wait for a person.",
        "{{ $value }} relays are Stalled: only a change by their users helps.",
    ),
    Alert(
        "TokenplaceOperatorRelaysNotReady",
        "warning",
        "30m",
        'max(tokenplace_operator_relays{ready="False",$MATCH}) - on () max('
        'tokenplace_operator_relay_condition{condition="Stalled",status="True",$MATCH}) > 0',
        "Relays are not Ready, and nobody's move would be needed.",
        "{{ $value }} relays are not Ready, those that are Stalled not counted.",
    ),
)
ALERTS = (*PRESENCE, *WORK, *SURROUNDINGS, *RELAYS)


def groups(namespace: str, job: str) -> list[dict[str, Any]]:
    """The rule groups for the operator whose metrics Service has this name; that is its job."""
    labels = {"namespace": namespace, "operator": job}
    rules = [rule(alert, labels) for alert in ALERTS]
    for one in rules:
        one["expr"] = filled(one["expr"], namespace, job)
    return [{"name": OPERATOR, "rules": rules}]


def filled(expression: str, namespace: str, job: str) -> str:
    """The expression for one operator; $MATCH stands beside other matchers."""
    match = f'namespace="{namespace}",job="{job}"'
    return expression.replace("$SELECT", f"{{{match}}}").replace("$MATCH", match)
