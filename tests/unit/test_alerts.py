"""The alerts, evaluated by Prometheus' own rule manager; and that they ask for what there is."""

import re
import urllib.request
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tokenplace_cluster.alerts import Moment, evaluate, firing, first
from tokenplace_harness.process import relay_process
from tokenplace_operator.api import Relay, parse
from tokenplace_operator.desired.alerts import groups
from tokenplace_operator.desired.dashboard import dashboard

pytestmark = pytest.mark.timeout(1800)  # A first run builds the rule manager.

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"
FOREVER = "x400"
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
    UP: f"1{FOREVER}",
    INSTRUMENTED: f"1{FOREVER}",
    HEALTHY_NODES: f"2{FOREVER}",
    OLDEST: f"5{FOREVER}",
    http("2xx"): f"0+300{FOREVER}",
    http("5xx"): f"0+0{FOREVER}",
    outcome("completed"): f"0+100{FOREVER}",
    outcome("failed"): f"0+5{FOREVER}",
    bucket("0.5"): f"0+300{FOREVER}",
    bucket("5"): f"0+300{FOREVER}",
    bucket("+Inf"): f"0+300{FOREVER}",
    bucket("0.5", POLL): f"0+0{FOREVER}",
    bucket("+Inf", POLL): f"0+900{FOREVER}",
    EVICTIONS: f"0+0{FOREVER}",
    STARTED: f"1000{FOREVER}",
    LAG: f"0.01{FOREVER}",
    MEMORY: f"100000000{FOREVER}",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What differs from a healthy relay from the start on; which alert fires, how bad, and when.

    minutes: the alert must fire after that many, and must not a minute before.
    """

    alert: str
    severity: str
    minutes: float
    change: dict[str, str | None] = field(default_factory=dict)


TROUBLES = {
    "down": Trouble("TokenplaceRelayDown", "critical", 5, {UP: f"0{FOREVER}"}),
    "absent": Trouble("TokenplaceRelayAbsent", "critical", 10, dict.fromkeys(HEALTHY)),
    "no metrics": Trouble(
        "TokenplaceRelayMetricsAbsent",
        "warning",
        15,
        {**dict.fromkeys(HEALTHY), UP: f"1{FOREVER}"},
    ),
    "requests wait": Trouble("TokenplaceRelayRequestsWait", "warning", 5, {OLDEST: f"61{FOREVER}"}),
    "requests starve": Trouble(
        "TokenplaceRelayRequestsWait", "critical", 5, {OLDEST: f"241{FOREVER}"}
    ),
    "some errors": Trouble(
        "TokenplaceRelayServerErrors", "warning", 10.5, {http("5xx"): f"0+6{FOREVER}"}
    ),
    "many errors": Trouble(
        "TokenplaceRelayServerErrors", "critical", 5.5, {http("5xx"): f"0+60{FOREVER}"}
    ),
    "requests fail": Trouble(
        "TokenplaceRelayRequestsFail", "warning", 15.5, {outcome("failed"): f"0+50{FOREVER}"}
    ),
    "slow": Trouble("TokenplaceRelaySlow", "warning", 10.5, {bucket("0.5"): f"0+100{FOREVER}"}),
    "no nodes": Trouble(
        "TokenplaceRelayNoComputeNode", "critical", 10, {HEALTHY_NODES: f"0{FOREVER}"}
    ),
    "nodes vanish": Trouble(
        "TokenplaceRelayNodesVanish", "warning", 6, {EVICTIONS: f"0+3{FOREVER}"}
    ),
    "restarts": Trouble(
        "TokenplaceRelayRestarts", "warning", 2.5, {STARTED: "1000 1030 1060 1090x400"}
    ),
    "a blocked loop": Trouble(
        "TokenplaceRelayEventLoopBlocked", "warning", 5, {LAG: f"0.6{FOREVER}"}
    ),
    "memory": Trouble(
        "TokenplaceRelayMemoryNearLimit", "warning", 10, {MEMORY: f"250000000{FOREVER}"}
    ),
}


def evaluated(folder: Path, relay: Relay, given: dict[str, str], minutes: float) -> list[Moment]:
    return evaluate(folder, groups(relay), given, minutes)


def test_a_healthy_relay_raises_nothing(tmp_path: Path) -> None:
    moments = evaluated(tmp_path, make_relay(), HEALTHY, 60)
    assert len(moments) == 121
    assert [one for one in moments if one["firing"] or one["pending"]] == []


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_each_trouble_raises_its_alert_in_time_and_no_other(
    tmp_path: Path, trouble: Trouble
) -> None:
    given = {name: text for name, text in {**HEALTHY, **trouble.change}.items() if text}
    given = given or {'up{job="another"}': f"1{FOREVER}"}
    moments = evaluated(tmp_path, make_relay(), given, 30)
    wanted = (trouble.alert, trouble.severity)
    assert wanted not in firing(moments, trouble.minutes - 1)
    assert wanted in firing(moments, trouble.minutes)
    assert {name for name, _ in firing(moments, trouble.minutes)} == {trouble.alert}
    one = first(moments, *wanted)
    assert (one["labels"]["namespace"], one["labels"]["relay"]) == ("team", "relay")
    texts = one["annotations"]
    assert "{{" not in texts["description"], "every template is filled in"
    assert "error" not in texts["description"].replace("server errors", "")
    assert texts["runbook_url"].endswith(f"/docs/runbooks/{trouble.alert}.md")


def test_a_trouble_that_ends_ends_its_alert(tmp_path: Path) -> None:
    given = {**HEALTHY, UP: "0x40 1x100"}
    moments = evaluated(tmp_path, make_relay(), given, 30)
    assert firing(moments, 15) == {("TokenplaceRelayDown", "critical")}
    assert firing(moments, 30) == set()


def test_what_others_do_does_not_matter(tmp_path: Path) -> None:
    """Neither a relay of the same name elsewhere nor another one beside it."""
    strangers = {
        name.replace('"team"', '"elsewhere"'): text for name, text in {UP: "0x400"}.items()
    } | {UP.replace('"relay"', '"other"'): "0x400"}
    moments = evaluated(tmp_path, make_relay(), {**HEALTHY, **strangers}, 30)
    assert firing(moments, 30) == set()


def test_thresholds_follow_the_settings(tmp_path: Path) -> None:
    relay = make_relay(
        relay={"timers": {"requestDeadlineSeconds": 40}},
        resources={"limits": {"memory": "1Gi"}, "requests": {}},
    )
    given = {**HEALTHY, OLDEST: f"21{FOREVER}", MEMORY: f"500000000{FOREVER}"}
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
def test_a_runbook_says_what_it_means_what_it_does_and_how_to_mend_it(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text()
    headings = re.findall(r"^#+ .*$", text, re.MULTILINE)
    assert headings == [f"# {alert}", "## Meaning", "## Impact", "## Diagnosis", "## Fix"]
    assert all(
        len(part.split()) > 5 for part in re.split(r"^## \w+$", text, flags=re.MULTILINE)[1:]
    )


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
def test_alerts_and_dashboard_ask_for_metrics_that_the_relay_has(expression: str) -> None:
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
