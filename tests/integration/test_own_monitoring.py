"""The operator's own alerts and dashboard ask only for what its real /metrics has."""

import re
from collections import defaultdict
from collections.abc import Iterable

import pytest

from tokenplace_cluster.control_plane.fake_kubelet import FakeKubelet
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.operator_process import OperatorProcess
from tokenplace_cluster.subjects.relays import Relays
from tokenplace_operator.monitoring.operator_alerts import groups
from tokenplace_operator.monitoring.operator_dashboard import dashboard

OF_THE_SCRAPE = {"namespace", "job", "pod"}
CODES = {"0|429|5..", "401|403"}
"""Those of errors, which the API server does not give here."""
REFERENCE = {
    *("workqueue_depth", "workqueue_adds_total", "workqueue_retries_total", "leader"),
    *("workqueue_queue_duration_seconds", "workqueue_work_duration_seconds", "build_info"),
    *("workqueue_unfinished_work_seconds", "workqueue_longest_running_seconds", "relays"),
    *("reconcile_total", "reconcile_duration_seconds", "reconcile_errors_total", "apply_total"),
    *("drift_total", "pruned_total", "kube_requests_total", "kube_request_duration_seconds"),
    *("watch_events_total", "resync_duration_seconds", "resync_missed_deletes_total"),
    *("leader_transitions_total", "relay_condition", "event_loop_lag_seconds"),
}
"""What an operator of this kind must count."""
UNBOUNDED = re.compile(r"[^A-Za-z0-9_.+:-]")

Samples = dict[str, dict[str, set[str]]]
"""Values by label by name."""


@pytest.fixture
def samples(
    operator: OperatorProcess, kubelet: FakeKubelet, relays: Relays, eventually: Eventually
) -> Samples:
    """What the operator counts when it has a relay whose GPU host has no address."""
    del kubelet
    relays.apply(gpu={"host": "gpu.invalid"})
    eventually(lambda: relays.when(Available="True"), seconds=60)
    eventually(lambda: operator.total("tokenplace_operator_gpu_host_lookups_total") > 0)
    found: Samples = defaultdict(lambda: defaultdict(set))
    for name, labels in operator.metrics():
        for label, value in labels:
            found[name][label].add(value)
        found[name].update()
    return found


def expressions() -> list[str]:
    alerts = [rule["expr"] for group in groups("ns", "op") for rule in group["rules"]]
    panels = dashboard("uid", "ns", "op")["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(alerts) > 20
    assert len(shown) > 20
    return [*alerts, *shown]


def asked(expression: str) -> list[tuple[str, str]]:
    """Name and matchers of each selector."""
    return re.findall(r"([a-z_]+)\{([^}]*)\}", expression)


def test_alerts_and_dashboard_ask_for_metrics_that_the_operator_has(samples: Samples) -> None:
    for expression in expressions():
        assert asked(expression), expression
        for name, matchers in asked(expression):
            if name == "up":
                continue  # Prometheus' own.
            assert name in samples, expression
            found = re.findall(r'(\w+)(?:=~|=)"([^"]*)"', matchers)
            for label, value in found:
                if label in OF_THE_SCRAPE:
                    continue
                assert label in samples[name], expression
                assert value in samples[name][label] | CODES, expression
        for label in re.findall(r"by \(([^)]*)\)", expression):
            names = {one.strip() for one in label.split(",")} - OF_THE_SCRAPE
            assert all(names <= samples[name].keys() for name, _ in asked(expression)), expression


def test_everything_that_an_operator_must_count_is_counted_and_shown(samples: Samples) -> None:
    part_of_a_histogram = re.compile("_(bucket|sum|count)$")

    def whole(names: Iterable[str]) -> set[str]:
        own = (one for one in names if one.startswith("tokenplace_operator_"))
        return {part_of_a_histogram.sub("", one) for one in own if not one.endswith("_created")}

    counted = whole(samples)
    assert counted >= {f"tokenplace_operator_{name}" for name in REFERENCE}
    assert whole(name for text in expressions() for name, _ in asked(text)) == counted


def test_no_label_has_a_name_of_a_relay_or_a_sentence(samples: Samples) -> None:
    for name, labels in samples.items():
        for label, values in labels.items():
            assert not [value for value in values if UNBOUNDED.search(value)], (name, label)
            assert not values & {"relay", "gpu.invalid"}, (name, label)
            assert len(values) < 40, (name, label)
