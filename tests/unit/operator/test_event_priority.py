"""Which events go before others."""

from random import Random
from typing import Any

import pytest

from tokenplace_operator.api.kinds import RELAY, SERVICE, Kind
from tokenplace_operator.cache.event_handler import EventHandler
from tokenplace_operator.cache.store import Store
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.runtime.workqueue import WorkQueue

OTHER, KEY = ("team", "other"), ("team", "relay")
OWNER = {
    "apiVersion": RELAY.api_version,
    "kind": RELAY.kind,
    "name": "relay",
    "uid": "u",
    "controller": True,
}


def obj(version: int, *owners: dict[str, Any], **more: object) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "relay", "uid": "u", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "generation": 2, "ownerReferences": list(owners)}, **more}


@pytest.mark.parametrize(
    ("kind", "event_type", "found", "first"),
    [
        (RELAY, "ADDED", obj(5), KEY),
        (RELAY, "MODIFIED", obj(5, status={"observedGeneration": 1}), KEY),
        (RELAY, "MODIFIED", obj(5, status={"observedGeneration": 2}), OTHER),
        (SERVICE, "DELETED", obj(5, OWNER), KEY),
        (SERVICE, "MODIFIED", obj(5, OWNER), OTHER),
    ],
)
def test_a_new_spec_and_a_lost_child_go_before_what_waits(
    kind: Kind, event_type: str, found: dict[str, Any], first: tuple[str, str]
) -> None:
    metrics = Metrics()
    store, queue = Store(metrics), WorkQueue(lambda: 0.0, Random(1), metrics)
    queue.add(OTHER)
    store.put({**obj(4, OWNER), "apiVersion": SERVICE.api_version, "kind": SERVICE.kind})
    EventHandler(store, queue, metrics).handle(kind, event_type, found)
    assert queue.take() == first


@pytest.mark.parametrize(
    ("owners", "concerned"),
    [([], {KEY}), ([{**OWNER, "name": "other"}], {KEY, OTHER})],
)
def test_a_child_that_is_taken_from_a_relay_concerns_it(
    owners: list[dict[str, Any]], concerned: set[tuple[str, str]]
) -> None:
    metrics = Metrics()
    store, queue = Store(metrics), WorkQueue(lambda: 0.0, Random(1), metrics)
    store.put({**obj(4, OWNER), "apiVersion": SERVICE.api_version, "kind": SERVICE.kind})
    EventHandler(store, queue, metrics).handle(SERVICE, "MODIFIED", obj(5, *owners))
    assert {queue.take(), queue.take()} - {None} == concerned
