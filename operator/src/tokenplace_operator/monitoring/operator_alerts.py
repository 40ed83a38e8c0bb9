"""The alerts on the operator itself, as a table. $SELECT is the placeholder for label matchers.

warning: investigate today. critical: relays are not reconciled; running relays keep running.
The chart ships them: deploy/charts/generate.py writes them into it.
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
        # max: one pod that answers is enough.
        "max(up$SELECT) == 0",
        "The operator does not serve /metrics.",
        "Prometheus has targets for the operator, but every scrape fails.",
    ),
    Alert(
        "TokenplaceOperatorAbsent",
        "critical",
        "10m",
        # absent and not `up == 0`: without a target there is no series that could be 0.
        "absent(up$SELECT)",
        "Prometheus has no target for the operator.",
        "The operator has no pod, or no Prometheus selects its ServiceMonitor.",
    ),
    Alert(
        "TokenplaceOperatorNoLeader",
        "critical",
        "5m",
        "max(tokenplace_operator_leader$SELECT) == 0",
        "No operator pod is the leader.",
        "Pods run, but none holds the Lease, so nothing is reconciled.",
    ),
    Alert(
        "TokenplaceOperatorTwoLeaders",
        "critical",
        "3m",
        "sum(tokenplace_operator_leader$SELECT) > 1",
        "More than one operator pod is the leader.",
        "{{ $value }} pods of one installation report that they are the leader.",
    ),
    Alert(
        "TokenplaceOperatorRestarts",
        "warning",
        "1m",
        "max(changes(process_start_time_seconds$SELECT[30m])) > 2",
        "The operator restarts repeatedly.",
        "A pod restarted {{ $value }} times within 30 minutes.",
    ),
    Alert(
        "TokenplaceOperatorEventLoopBlocked",
        "warning",
        "5m",
        "max(tokenplace_operator_event_loop_lag_seconds$SELECT) > 0.5",
        "The event loop of the operator is blocked.",
        "The event loop is {{ $value | humanizeDuration }} late.",
    ),
)
WORK = (
    Alert(
        "TokenplaceOperatorReconcileErrors",
        "warning",
        "30m",
        "sum(increase(tokenplace_operator_reconcile_errors_total$SELECT[15m])) > 2",
        "Reconciles fail repeatedly.",
        "{{ $value | humanize }} reconciles failed within 15 minutes, for 30 minutes.",
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
        # No waiting time: a single unexpected exception is worth a report.
        "0m",
        'sum(increase(tokenplace_operator_reconcile_errors_total{reason="Bug",$MATCH}[1h])) > 0',
        "A reconcile failed with an internal error (bug).",
        "{{ $value | humanize }} reconciles ended with an unexpected exception within an hour.",
    ),
    Alert(
        "TokenplaceOperatorQueueSlow",
        "warning",
        "15m",
        "histogram_quantile(0.99, sum by (le) "
        "(rate(tokenplace_operator_workqueue_queue_duration_seconds_bucket$SELECT[10m]))) > 5",
        "Relays wait too long in the work queue.",
        "The 99th percentile of the time in the queue is {{ $value | humanizeDuration }}.",
    ),
    Alert(
        "TokenplaceOperatorQueueStalled",
        "critical",
        "5m",
        # A depth above 0 is normal while reconciles finish; both together mean that none does.
        "max(tokenplace_operator_workqueue_depth$SELECT) > 0 and on () "
        "sum(rate(tokenplace_operator_reconcile_total$SELECT[5m])) == 0",
        "The work queue does not move.",
        "{{ $value }} relays wait, and no reconcile has finished for 5 minutes.",
    ),
    Alert(
        "TokenplaceOperatorConflictingWrites",
        "warning",
        "15m",
        "max(tokenplace_operator_children_in_write_backoff$SELECT) > 0",
        "Another writer keeps reverting child resources.",
        "{{ $value }} child resources are reverted after every write.",
    ),
    Alert(
        "TokenplaceOperatorFieldConflicts",
        "warning",
        "15m",
        "sum by (kind) "
        '(increase(tokenplace_operator_apply_total{result="conflict",$MATCH}[1h])) > 2',
        "Another field manager applies fields that the operator owns.",
        "{{ $labels.kind }}: {{ $value | humanize }} field conflicts within an hour.",
    ),
)
CLUSTER = (
    *(
        Alert(
            "TokenplaceOperatorApiErrors",
            severity,
            duration,
            # Code 0 is a request without a response. Other 4xx codes are normal: 404 and 409 are
            # handled.
            'sum(rate(tokenplace_operator_kube_requests_total{code=~"0|429|5..",$MATCH}[5m]))'
            f" / sum(rate(tokenplace_operator_kube_requests_total$SELECT[5m])) > {share}",
            "Requests of the operator to the API server fail.",
            "{{ $value | humanizePercentage }} of the requests get no response, 429 or 5xx.",
        )
        for severity, duration, share in (("warning", "15m", 0.05), ("critical", "10m", 0.5))
    ),
    Alert(
        "TokenplaceOperatorForbidden",
        "warning",
        "15m",
        'sum(increase(tokenplace_operator_kube_requests_total{code=~"401|403",$MATCH}[15m])) > 2',
        "The API server denies requests of the operator.",
        "{{ $value | humanize }} requests were denied (401 or 403) within 15 minutes.",
    ),
    Alert(
        "TokenplaceOperatorStatusWritesFail",
        "warning",
        "15m",
        'sum(increase(tokenplace_operator_status_writes_total{result="error",$MATCH}[15m])) > 2',
        "The operator cannot write the status of relays.",
        "{{ $value | humanize }} status writes failed within 15 minutes.",
    ),
    Alert(
        "TokenplaceOperatorWatchMisses",
        "warning",
        "0m",
        "sum by (kind) (increase(tokenplace_operator_resync_missed_deletes_total$SELECT[1h])) > 0",
        "A watch missed events.",
        "{{ $labels.kind }}: only a full list showed {{ $value | humanize }} deletions.",
    ),
    Alert(
        "TokenplaceOperatorGPUHostUnresolved",
        "warning",
        "15m",
        "sum(increase("
        'tokenplace_operator_gpu_host_lookups_total{result="failed",$MATCH}[10m])) > 2',
        "The gpu.host of a relay does not resolve.",
        "{{ $value | humanize }} DNS lookups failed within 10 minutes.",
    ),
)
RELAYS = (
    Alert(
        "TokenplaceOperatorRelaysStale",
        "warning",
        "10m",
        "max(tokenplace_operator_relays_unobserved$SELECT) > 0",
        "Changes of relays are not processed.",
        "The status of {{ $value }} relays is older than their spec.",
    ),
    Alert(
        "TokenplaceOperatorRelaysStalled",
        "warning",
        "15m",
        'max(tokenplace_operator_relay_condition{condition="Stalled",status="True",$MATCH}) > 0',
        "Relays are Stalled.",
        "{{ $value }} relays are Stalled: they need a change by their users.",
    ),
    Alert(
        "TokenplaceOperatorRelaysNotReady",
        "warning",
        "30m",
        # A Stalled relay has its own alert; here only those count that ought to recover on their
        # own.
        'max(tokenplace_operator_relays{ready="False",$MATCH}) - on () max('
        'tokenplace_operator_relay_condition{condition="Stalled",status="True",$MATCH}) > 0',
        "Relays are not Ready for a long time.",
        "{{ $value }} relays are not Ready, not counting those that are Stalled.",
    ),
)
ALERTS = (*PRESENCE, *WORK, *CLUSTER, *RELAYS)


def groups(namespace: str, job: str) -> list[dict[str, Any]]:
    """Return the rule groups of one operator. job: the name of its metrics Service."""
    labels = {"namespace": namespace, "operator": job}
    rules = [rule(alert, labels) for alert in ALERTS]
    for alerting_rule in rules:
        alerting_rule["expr"] = fill(alerting_rule["expr"], namespace, job)
    return [{"name": OPERATOR, "rules": rules}]


def fill(expression: str, namespace: str, job: str) -> str:
    """Replace $SELECT, and $MATCH next to other matchers, with the operator's label matchers."""
    match = f'namespace="{namespace}",job="{job}"'
    return expression.replace("$SELECT", f"{{{match}}}").replace("$MATCH", match)
