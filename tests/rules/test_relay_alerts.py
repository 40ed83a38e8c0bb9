"""The alerts on a relay, evaluated by the rule manager of Prometheus, over existing metrics."""

import re
import urllib.request
from functools import cache
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tokenplace_cluster.programs.alert_rules import (
    RUNBOOKS,
    Moment,
    Trouble,
    check_runbook,
    evaluate,
    firing,
    growing,
    steady,
)
from tokenplace_harness.process import relay_process
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.monitoring.relay_alerts import groups
from tokenplace_operator.monitoring.relay_dashboard import dashboard

ROUTE = 'route="/api/v1/relay/requests"'


def make_relay(**spec: object) -> Relay:
    metadata = {"name": "relay", "namespace": "team", "uid": "u", "generation": 1}
    full = {"image": {"tag": "v1"}, "gpu": {"mode": "None"}, **spec}
    return parse({"metadata": metadata, "spec": full})


def series(metric: str, *labels: str) -> str:
    common = ('namespace="team"', 'job="relay"', 'pod="relay-1"', 'instance="a"')
    return f"{metric}{{{','.join((*common, *labels))}}}"


def http(status: str) -> str:
    return series("tokenplace_http_requests_total", f'status_class="{status}"', ROUTE)


def outcome(name: str) -> str:
    return series("tokenplace_relay_request_outcomes_total", f'outcome="{name}"')


def bucket(le: str, route: str = ROUTE) -> str:
    return series("tokenplace_http_request_duration_seconds_bucket", f'le="{le}"', route)


UP = series("up")
INSTRUMENTED = series("tokenplace_instrumentation_up")
HEALTHY_NODES = series("tokenplace_compute_nodes_healthy")
OLDEST = series("tokenplace_relay_oldest_queued_request_age_seconds")
EVICTIONS = series("tokenplace_compute_node_evictions_total", 'reason="stale_lease"')
STARTED = series("process_start_time_seconds")
LAG = series("tokenplace_relay_event_loop_lag_seconds")
MEMORY = series("process_resident_memory_bytes")
POLL = 'route="/api/v1/relay/servers/poll"'

HEALTHY = {
    UP: steady(1),
    INSTRUMENTED: steady(1),
    HEALTHY_NODES: steady(2),
    OLDEST: steady(5),
    http("2xx"): growing(300),
    http("5xx"): growing(0),
    outcome("completed"): growing(100),
    outcome("failed"): growing(5),
    bucket("0.5"): growing(300),
    bucket("5"): growing(300),
    bucket("+Inf"): growing(300),
    bucket("0.5", POLL): growing(0),
    bucket("+Inf", POLL): growing(900),
    EVICTIONS: growing(0),
    STARTED: steady(1000),
    LAG: steady(0.01),
    MEMORY: steady(100000000),
}


TROUBLES = {
    "down": Trouble("TokenplaceRelayDown", "critical", 5, {UP: steady(0)}),
    "absent": Trouble("TokenplaceRelayAbsent", "critical", 10, dict.fromkeys(HEALTHY)),
    "no metrics": Trouble(
        "TokenplaceRelayMetricsAbsent",
        "warning",
        15,
        {**dict.fromkeys(HEALTHY), UP: steady(1)},
    ),
    "requests wait": Trouble("TokenplaceRelayRequestsWait", "warning", 5, {OLDEST: steady(61)}),
    "requests starve": Trouble("TokenplaceRelayRequestsWait", "critical", 5, {OLDEST: steady(241)}),
    "some errors": Trouble(
        "TokenplaceRelayServerErrors", "warning", 10.5, {http("5xx"): growing(6)}
    ),
    "many errors": Trouble(
        "TokenplaceRelayServerErrors", "critical", 5.5, {http("5xx"): growing(60)}
    ),
    "requests fail": Trouble(
        "TokenplaceRelayRequestsFail", "warning", 15.5, {outcome("failed"): growing(50)}
    ),
    "slow": Trouble("TokenplaceRelaySlow", "warning", 10.5, {bucket("0.5"): growing(100)}),
    "no nodes": Trouble("TokenplaceRelayNoComputeNode", "critical", 10, {HEALTHY_NODES: steady(0)}),
    "nodes vanish": Trouble("TokenplaceRelayNodesVanish", "warning", 6, {EVICTIONS: growing(3)}),
    "restarts": Trouble(
        "TokenplaceRelayRestarts", "warning", 2.5, {STARTED: "1000 1030 1060 1090x400"}
    ),
    "a blocked loop": Trouble("TokenplaceRelayEventLoopBlocked", "warning", 5, {LAG: steady(0.6)}),
    "memory": Trouble("TokenplaceRelayMemoryNearLimit", "warning", 10, {MEMORY: steady(250000000)}),
}


def evaluated(folder: Path, relay: Relay, given: dict[str, str], minutes: float) -> list[Moment]:
    return evaluate(folder, groups(relay), given, minutes)


def test_a_healthy_relay_raises_nothing(tmp_path: Path) -> None:
    moments = evaluated(tmp_path, make_relay(), HEALTHY, 60)
    assert len(moments) == 121
    assert [one for one in moments if one["firing"] or one["pending"]] == []


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_each_problem_raises_its_alert_in_time_and_no_other(
    tmp_path: Path, trouble: Trouble
) -> None:
    moments = evaluated(tmp_path, make_relay(), trouble.series(HEALTHY), 30)
    alert = trouble.raised(moments)
    assert (alert["labels"]["namespace"], alert["labels"]["relay"]) == ("team", "relay")


def test_an_alert_resolves_with_its_problem(tmp_path: Path) -> None:
    given = {**HEALTHY, UP: "0x40 1x100"}
    moments = evaluated(tmp_path, make_relay(), given, 30)
    assert firing(moments, 15) == {("TokenplaceRelayDown", "critical")}
    assert firing(moments, 30) == set()


def test_other_relays_raise_no_alert(tmp_path: Path) -> None:
    """A relay of the same name elsewhere, or another one in the namespace, raises no alert."""
    others = {
        name.replace('"team"', '"elsewhere"'): text for name, text in {UP: "0x400"}.items()
    } | {UP.replace('"relay"', '"other"'): "0x400"}
    moments = evaluated(tmp_path, make_relay(), {**HEALTHY, **others}, 30)
    assert firing(moments, 30) == set()


def test_thresholds_follow_the_settings(tmp_path: Path) -> None:
    relay = make_relay(
        relay={"timers": {"requestDeadlineSeconds": 40}},
        resources={"limits": {"memory": "1Gi"}, "requests": {}},
    )
    given = {**HEALTHY, OLDEST: steady(21), MEMORY: steady(500000000)}
    found = firing(evaluated(tmp_path, relay, given, 15), 15)
    assert found == {
        ("TokenplaceRelayRequestsWait", "warning"),
        ("TokenplaceRelayRequestsWait", "critical"),
    }


def test_every_alert_is_tested_and_has_a_runbook() -> None:
    rules = [rule for group in groups(make_relay()) for rule in group["rules"]]
    told = {(rule["alert"], rule["labels"]["severity"]) for rule in rules}
    assert told == {(trouble.alert, trouble.severity) for trouble in TROUBLES.values()}
    assert {severity for _, severity in told} == {"warning", "critical"}
    assert any(rule["expr"].startswith("absent(") for rule in rules)
    written = {path.stem for path in RUNBOOKS.glob("TokenplaceRelay*.md")}
    assert written == {name for name, _ in told}


@pytest.mark.parametrize("alert", sorted({t.alert for t in TROUBLES.values()}))
def test_a_runbook_has_meaning_impact_and_fix(alert: str) -> None:
    check_runbook(alert)


@cache
def exported() -> dict[str, dict[str, set[str]]]:
    """The samples of a real relay: name, label, values."""
    found: dict[str, dict[str, set[str]]] = {}
    with relay_process() as relay:
        for path in ("/livez", "/metrics"):
            with urllib.request.urlopen(f"{relay.url}{path}", timeout=10) as answer:
                text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def expressions() -> list[str]:
    relay = make_relay()
    alerts = [rule["expr"] for group in groups(relay) for rule in group["rules"]]
    panels = [t["expr"] for panel in dashboard(relay)["panels"] for t in panel["targets"]]
    assert len(panels) > 12
    return [*alerts, *panels]


@pytest.mark.parametrize("expression", expressions())
def test_alerts_and_dashboard_use_only_existing_metrics(expression: str) -> None:
    asked = re.findall(r"([a-z_]+)\{([^}]*)\}", expression)
    assert asked
    for name, matchers in asked:
        if name == "up":
            continue  # Prometheus' own.
        labels = exported()[name]
        for label, operator, value in re.findall(r'(\w+)(=~|!~|=|!=)"([^"]*)"', matchers):
            if label in {"namespace", "job"}:
                continue  # Of the scrape.
            if "~" in operator:
                assert (
                    any(re.fullmatch(value, known) for known in labels[label]) or label == "route"
                )
            else:
                assert value in labels[label] or label == "status_class"
