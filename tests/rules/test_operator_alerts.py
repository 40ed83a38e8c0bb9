"""The alerts on the operator, evaluated by the rule manager of Prometheus."""

from pathlib import Path

import pytest

from tokenplace_cluster.programs.alert_rules import (
    RUNBOOKS,
    Trouble,
    check_runbook,
    evaluate,
    growing,
    steady,
)
from tokenplace_operator.monitoring.operator_alerts import ALERTS, groups

NAMESPACE, JOB = "tokenplace-system", "tokenplace-operator"

Given = dict[str, str]


def series(metric: str, *labels: str, pod: str = "a") -> str:
    own = (
        metric
        if metric in {"up", "process_start_time_seconds"}
        else f"tokenplace_operator_{metric}"
    )
    common = (f'namespace="{NAMESPACE}"', f'job="{JOB}"', f'pod="{pod}"', f'instance="{pod}"')
    return f"{own}{{{','.join((*common, *labels))}}}"


UP, STANDBY_UP = series("up"), series("up", pod="b")
LEADER, STANDBY = series("leader"), series("leader", pod="b")
STARTED = series("process_start_time_seconds")
LAG = series("event_loop_lag_seconds")
OK = series("reconcile_total", 'result="ok"')
FAILED = series("reconcile_total", 'result="error"')
BUGS = series("reconcile_errors_total", 'reason="Bug"')
TIMEOUTS = series("reconcile_errors_total", 'reason="Timeout"')
DEPTH = series("workqueue_depth")
QUICK = series("workqueue_queue_duration_seconds_bucket", 'le="1.0"')
SLOW = series("workqueue_queue_duration_seconds_bucket", 'le="10.0"')
ALL = series("workqueue_queue_duration_seconds_bucket", 'le="+Inf"')
CONTESTED = series("children_in_write_backoff")
CONFLICTS = series("apply_total", 'kind="Deployment"', 'result="conflict"')
ANSWERED = series("kube_requests_total", 'method="GET"', 'code="200"')
BUSY = series("kube_requests_total", 'method="PATCH"', 'code="429"')
SILENT = series("kube_requests_total", 'method="GET"', 'code="0"')
BROKEN = series("kube_requests_total", 'method="PATCH"', 'code="503"')
FORBIDDEN = series("kube_requests_total", 'method="PATCH"', 'code="403"')
STATUS_ERRORS = series("status_writes_total", 'result="error"')
MISSED = series("resync_missed_deletes_total", 'kind="Service"')
LOOKUPS_FAILED = series("gpu_host_lookups_total", 'result="failed"')
UNOBSERVED = series("relays_unobserved")
STALLED = series("relay_condition", 'condition="Stalled"', 'status="True"')
NOT_READY = series("relays", 'ready="False"')
RETRIED = " ".join(f"{failures}x9" for failures in range(30))
"""One relay, after the longest backoff of five minutes each time."""
CLAIMED = " ".join(f"{conflicts}x19" for conflicts in range(15))
"""Once in ten minutes, as often as programs that deploy from git do it."""
HEALTHY: Given = {
    UP: steady(1),
    STANDBY_UP: steady(1),
    LEADER: steady(1),
    STANDBY: steady(0),
    STARTED: steady(1000),
    LAG: steady(0.01),
    OK: growing(10),
    FAILED: growing(0),
    BUGS: growing(0),
    TIMEOUTS: growing(0),
    DEPTH: steady(2),
    QUICK: growing(10),
    SLOW: growing(10),
    ALL: growing(10),
    CONTESTED: steady(0),
    CONFLICTS: growing(0),
    ANSWERED: growing(100),
    BUSY: growing(1),
    SILENT: growing(0),
    BROKEN: growing(0),
    FORBIDDEN: growing(0),
    STATUS_ERRORS: growing(0),
    MISSED: growing(0),
    LOOKUPS_FAILED: growing(0),
    UNOBSERVED: steady(0),
    STALLED: steady(0),
    NOT_READY: steady(0),
}


TROUBLES = {
    "down": Trouble(
        "TokenplaceOperatorDown", "critical", 5, {UP: steady(0), STANDBY_UP: steady(0)}
    ),
    "absent": Trouble("TokenplaceOperatorAbsent", "critical", 10, dict.fromkeys(HEALTHY)),
    "no leader": Trouble("TokenplaceOperatorNoLeader", "critical", 5, {LEADER: steady(0)}),
    "two leaders": Trouble("TokenplaceOperatorTwoLeaders", "critical", 3, {STANDBY: steady(1)}),
    "restarts": Trouble(
        "TokenplaceOperatorRestarts", "warning", 2.5, {STARTED: "1000 1030 1060 1090x400"}
    ),
    "a blocked loop": Trouble(
        "TokenplaceOperatorEventLoopBlocked", "warning", 5, {LAG: steady(0.6)}
    ),
    "one relay fails for ever": Trouble(
        "TokenplaceOperatorReconcileErrors", "warning", 45, {TIMEOUTS: RETRIED}
    ),
    "most reconciles fail": Trouble(
        "TokenplaceOperatorReconcileErrors", "critical", 15.5, {FAILED: growing(20)}
    ),
    "a bug": Trouble("TokenplaceOperatorBug", "warning", 1.5, {BUGS: "0 0 0 1x400"}),
    "a slow queue": Trouble("TokenplaceOperatorQueueSlow", "warning", 15.5, {QUICK: growing(5)}),
    "a stalled queue": Trouble(
        "TokenplaceOperatorQueueStalled", "critical", 5.5, {OK: growing(0), FAILED: growing(0)}
    ),
    "a contest": Trouble(
        "TokenplaceOperatorConflictingWrites", "warning", 15, {CONTESTED: steady(1)}
    ),
    "conflicts": Trouble(
        "TokenplaceOperatorFieldConflicts", "warning", 16.5, {CONFLICTS: growing(1)}
    ),
    "a conflict every ten minutes": Trouble(
        "TokenplaceOperatorFieldConflicts", "warning", 45.5, {CONFLICTS: CLAIMED}
    ),
    "a busy API server": Trouble(
        "TokenplaceOperatorApiErrors", "warning", 15.5, {BUSY: growing(10)}
    ),
    "a broken API server": Trouble(
        "TokenplaceOperatorApiErrors", "critical", 10.5, {BROKEN: growing(200)}
    ),
    "an API server that is away": Trouble(
        "TokenplaceOperatorApiErrors", "critical", 10.5, {SILENT: growing(200)}
    ),
    "a right is missing": Trouble(
        "TokenplaceOperatorForbidden", "warning", 16.5, {FORBIDDEN: growing(1)}
    ),
    "no status": Trouble(
        "TokenplaceOperatorStatusWritesFail", "warning", 16.5, {STATUS_ERRORS: growing(1)}
    ),
    "lost events": Trouble(
        "TokenplaceOperatorWatchMisses", "warning", 1.5, {MISSED: "0 0 0 1x400"}
    ),
    "DNS fails": Trouble(
        "TokenplaceOperatorGPUHostUnresolved", "warning", 17.5, {LOOKUPS_FAILED: growing(0.5)}
    ),
    "a stale relay": Trouble(
        "TokenplaceOperatorRelaysStale", "warning", 10, {UNOBSERVED: steady(1)}
    ),
    "a stalled relay": Trouble(
        "TokenplaceOperatorRelaysStalled", "warning", 15, {STALLED: steady(1), NOT_READY: steady(1)}
    ),
    "a relay that is not Ready": Trouble(
        "TokenplaceOperatorRelaysNotReady",
        "warning",
        30,
        {STALLED: steady(0), NOT_READY: steady(1)},
    ),
}


def test_a_healthy_operator_raises_nothing(tmp_path: Path) -> None:
    moments = evaluate(tmp_path, groups(NAMESPACE, JOB), HEALTHY, 90)
    assert len(moments) == 181
    assert [one for one in moments if one["firing"] or one["pending"]] == []


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_each_problem_raises_its_alert_in_time_and_no_other(
    tmp_path: Path, trouble: Trouble
) -> None:
    moments = evaluate(
        tmp_path, groups(NAMESPACE, JOB), trouble.series(HEALTHY), trouble.minutes + 1
    )
    alert = trouble.raised(moments)
    assert (alert["labels"]["namespace"], alert["labels"]["operator"]) == (NAMESPACE, JOB)
    assert "error" not in alert["annotations"]["description"]


def test_a_change_of_leader_raises_no_alert(tmp_path: Path) -> None:
    """For two scrapes both pods report that they lead, and for two scrapes neither does."""
    given = {**HEALTHY, LEADER: "1x20 0x400", STANDBY: "0x18 1x20 0 0 1x400"}
    moments = evaluate(tmp_path, groups(NAMESPACE, JOB), given, 60)
    assert [one for one in moments if one["firing"]] == []


def test_another_operator_raises_no_alert(tmp_path: Path) -> None:
    others = {UP: steady(0), STALLED: steady(7), BUGS: growing(1)}
    strangers = {name.replace(NAMESPACE, "elsewhere"): text for name, text in others.items()}
    moments = evaluate(tmp_path, groups(NAMESPACE, JOB), {**HEALTHY, **strangers}, 30)
    assert [one for one in moments if one["firing"] or one["pending"]] == []


def test_every_alert_is_tested_and_has_a_runbook() -> None:
    told = {(alert.name, alert.severity) for alert in ALERTS}
    assert told == {(trouble.alert, trouble.severity) for trouble in TROUBLES.values()}
    assert {severity for _, severity in told} == {"warning", "critical"}
    assert any(alert.expr.startswith("absent(") for alert in ALERTS)
    written = {path.stem for path in RUNBOOKS.glob("TokenplaceOperator*.md")}
    assert written == {name for name, _ in told}


@pytest.mark.parametrize("alert", sorted({alert.name for alert in ALERTS}))
def test_a_runbook_has_meaning_impact_and_fix(alert: str) -> None:
    check_runbook(alert)
