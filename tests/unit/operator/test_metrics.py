"""The counts of relays in the metrics: by readiness and condition, never by name."""

import re

from prometheus_client.exposition import generate_latest

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.metrics import Metrics

FAMILIES: dict[str, set[str]] = {
    "workqueue_depth": set(),
    "workqueue_adds": set(),
    "workqueue_retries": set(),
    "workqueue_queue_duration_seconds": set(),
    "workqueue_work_duration_seconds": set(),
    "workqueue_unfinished_work_seconds": set(),
    "workqueue_longest_running_seconds": set(),
    "reconcile": {"result"},
    "reconcile_duration_seconds": set(),
    "reconcile_errors": {"reason"},
    "apply": {"kind", "result"},
    "drift": {"kind"},
    "pruned": {"kind"},
    "kube_requests": {"method", "code"},
    "kube_request_duration_seconds": {"method"},
    "watch_events": {"kind", "type"},
    "resync_duration_seconds": set(),
    "resync_missed_deletes": {"kind"},
    "leader": set(),
    "leader_transitions": set(),
    "relays": {"ready"},
    "relay_condition": {"condition", "status"},
    "build_info": {"version"},
    "event_loop_lag_seconds": set(),
}
"""What was promised: each family with its labels, counters without their `_total`."""


def relay(**statuses: str) -> Object:
    conditions = [{"type": kind, "status": status} for kind, status in statuses.items()]
    return {"metadata": {"name": "secret-project"}, "status": {"conditions": conditions}}


def test_every_family_that_was_promised_is_there_with_its_labels() -> None:
    metrics = Metrics()
    metrics.count_relays(list)
    metrics.kube_requests.labels("GET", "200")
    metrics.kube_request_duration.labels("GET")
    metrics.watch_events.labels("Service", "ADDED")
    found = {
        family.name.removeprefix("tokenplace_operator_"): {
            label for sample in family.samples for label in sample.labels if label != "le"
        }
        for family in metrics.registry.collect()
        if family.samples
    }
    assert {name: found.get(name) for name in FAMILIES} == FAMILIES


def test_relays_are_counted_at_each_scrape() -> None:
    metrics = Metrics()
    relays = [relay(Ready="True", Paused="False"), relay(Ready="False"), relay(), {}]
    metrics.count_relays(lambda: relays)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"tokenplace_operator_{name}", labels)

    assert [value("relays", ready=one) for one in ("True", "False", "Unknown")] == [1, 1, 2]
    assert value("relay_condition", condition="Paused", status="False") == 1
    del relays[1:]
    assert value("relays", ready="False") == 0
    assert value("relay_condition", condition="Ready", status="False") == 0


def test_only_words_of_ours_become_labels() -> None:
    """A writer of a status, or a server in place of the API server, could choose others."""
    metrics = Metrics()
    metrics.count_relays(lambda: [relay(Ready="Perhaps", Invented="True", Stalled="True")])
    metrics.failed(403, "Forbidden")
    metrics.failed(418, "a teapot's own words")
    metrics.failed(0, "ClientConnectorError")
    text = generate_latest(metrics.registry).decode()
    assert not re.search("Perhaps|Invented|teapot|ClientConnectorError|secret-project", text)
    count = metrics.registry.get_sample_value
    name = "tokenplace_operator_reconcile_errors_total"
    found = {one: count(name, {"reason": one}) for one in ("Forbidden", "Other", "NoAnswer", "Bug")}
    assert found == {"Forbidden": 1, "Other": 1, "NoAnswer": 1, "Bug": 0}
    assert count("tokenplace_operator_relays", {"ready": "Unknown"}) == 1


def test_relays_with_an_unobserved_spec_are_counted() -> None:
    metrics = Metrics()

    def at(generation: int, observed: int | None, **metadata: str) -> Object:
        status = {} if observed is None else {"observedGeneration": observed}
        return {"metadata": {"generation": generation, **metadata}, "status": status}

    relays = [at(2, 2), at(2, 1), at(1, None), at(3, 1, deletionTimestamp="2026-01-01T00:00:00Z")]
    metrics.count_relays(lambda: relays)
    assert metrics.registry.get_sample_value("tokenplace_operator_relays_unobserved") == 2
