"""The store: whatever the order of events, lists and answers, the newest version stays."""

import json
from typing import Any

import pytest

from tokenplace_operator.api.kinds import DEPLOYMENT, RELAY, SERVICE, Kind, Object
from tokenplace_operator.api.owners import parent_key
from tokenplace_operator.cache.store import Store
from tokenplace_operator.metrics import Metrics

KEY = ("team", "demo")


def make(kind: Kind, version: int | str, name: str = "demo", **metadata: object) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "namespace": "team",
            "name": name,
            "resourceVersion": str(version),
            **metadata,
        },
    }


def owned(kind: Kind, version: int, uid: str, /, **fields: object) -> Object:
    owner = {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "name": "demo",
        "uid": uid,
        "controller": True,
    }
    return make(kind, version, ownerReferences=[{**owner, **fields}])


class Lists:
    """The answers to LIST; `during` runs while the list is in progress."""

    def __init__(self, version: int, *items: Object) -> None:
        self.version = version
        self.items = items
        self.asked: list[tuple[str, str | None, str]] = []
        self.during: Any = lambda: None

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        self.asked.append((kind.kind, namespace, label_selector))
        self.during()
        return [item for item in self.items if item["kind"] == kind.kind], str(self.version)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def store(metrics: Metrics) -> Store:
    return Store(metrics)


def test_the_echo_of_an_own_write_is_no_change(store: Store) -> None:
    store.put(make(DEPLOYMENT, 7))
    assert not store.observe("MODIFIED", make(DEPLOYMENT, 7))
    assert not store.observe("MODIFIED", make(DEPLOYMENT, 6))
    assert store.observe("MODIFIED", make(DEPLOYMENT, 10))


def test_versions_compare_as_numbers(store: Store) -> None:
    store.put(make(DEPLOYMENT, 9))
    assert store.observe("MODIFIED", make(DEPLOYMENT, 10))
    assert not store.observe("MODIFIED", make(DEPLOYMENT, 9))


def test_versions_that_are_no_numbers_are_taken_as_newer(store: Store) -> None:
    store.put(make(DEPLOYMENT, "b"))
    assert store.observe("MODIFIED", make(DEPLOYMENT, "a"))
    assert not store.observe("MODIFIED", make(DEPLOYMENT, "a"))


def test_an_older_answer_does_not_bring_a_deleted_object_back(store: Store) -> None:
    store.put(make(DEPLOYMENT, 5))
    assert store.observe("DELETED", make(DEPLOYMENT, 8))
    store.put(make(DEPLOYMENT, 7))
    assert store.get(DEPLOYMENT, KEY) is None
    store.put(make(DEPLOYMENT, 9))
    assert store.get(DEPLOYMENT, KEY) is not None


def test_the_delete_of_a_predecessor_leaves_its_successor(store: Store) -> None:
    store.put(make(DEPLOYMENT, 9))
    assert not store.observe("DELETED", make(DEPLOYMENT, 8))
    assert store.get(DEPLOYMENT, KEY) is not None


def test_children_are_found_by_the_uid_of_their_controller(store: Store) -> None:
    store.put(owned(DEPLOYMENT, 1, "one"))
    store.put(owned(SERVICE, 2, "one"))
    store.put(make(RELAY, 3))
    assert {child["kind"] for child in store.children("one")} == {"Deployment", "Service"}
    store.put(owned(SERVICE, 4, "two"))
    assert [child["kind"] for child in store.children("one")] == ["Deployment"]
    store.forget(DEPLOYMENT, KEY)
    assert store.children("one") == []
    assert [child["kind"] for child in store.children("two")] == ["Service"]


def test_only_a_relay_that_controls_is_the_parent() -> None:
    assert parent_key(owned(DEPLOYMENT, 1, "u")) == KEY
    assert parent_key(make(DEPLOYMENT, 1)) is None
    assert parent_key(owned(DEPLOYMENT, 1, "u", controller=False)) is None
    assert parent_key(owned(DEPLOYMENT, 1, "u", apiVersion="apps/v1", kind="ReplicaSet")) is None
    assert parent_key(owned(DEPLOYMENT, 1, "u", apiVersion="example.org/v1")) is None


def test_managed_fields_are_not_kept(store: Store) -> None:
    store.put(make(DEPLOYMENT, 1, managedFields=[{"manager": "kubectl"}]))
    kept = store.get(DEPLOYMENT, KEY)
    assert kept is not None
    assert "managedFields" not in kept["metadata"]


async def test_resync_finds_a_missed_delete_and_counts_it(store: Store, metrics: Metrics) -> None:
    store.put(make(RELAY, 3))
    store.put(owned(DEPLOYMENT, 4, "one"))
    keys = await store.resync(Lists(10, make(RELAY, 3)))
    assert keys == [KEY]
    assert store.get(DEPLOYMENT, KEY) is None
    counted = metrics.registry.get_sample_value(
        "tokenplace_operator_resync_missed_deletes_total", {"kind": "Deployment"}
    )
    assert counted == 1


async def test_resync_names_relays_that_are_new_and_that_are_gone(store: Store) -> None:
    store.put(make(RELAY, 3, name="old"))
    keys = await store.resync(Lists(10, make(RELAY, 9, name="new")))
    assert keys == [("team", "new"), ("team", "old")]


async def test_resync_keeps_what_was_written_while_it_listed(store: Store) -> None:
    lists = Lists(10)
    lists.during = lambda: store.put(make(DEPLOYMENT, 11))
    await store.resync(lists)
    assert store.get(DEPLOYMENT, KEY) is not None


async def test_resync_does_not_bring_back_what_went_while_it_listed(store: Store) -> None:
    store.put(make(DEPLOYMENT, 5))
    lists = Lists(10, make(DEPLOYMENT, 5))
    lists.during = lambda: store.observe("DELETED", make(DEPLOYMENT, 11))
    await store.resync(lists)
    assert store.get(DEPLOYMENT, KEY) is None


async def test_a_datastore_that_was_restored_is_believed(store: Store) -> None:
    store.put(owned(DEPLOYMENT, 90, "one"))
    store.put(make(RELAY, 95))
    store.put(make(RELAY, 96, name="made-later"))
    store.observe("DELETED", make(SERVICE, 97))
    lists = Lists(40, make(RELAY, 30), make(SERVICE, 31))
    keys = await store.resync(lists)
    assert keys == [KEY, ("team", "made-later")]
    relay = store.get(RELAY, KEY)
    assert relay is not None
    assert relay["metadata"]["resourceVersion"] == "30"
    assert store.get(SERVICE, KEY) is not None
    assert store.get(DEPLOYMENT, KEY) is None
    assert store.get(RELAY, ("team", "made-later")) is None


async def test_a_child_that_changed_hands_concerns_both(store: Store) -> None:
    store.put(owned(DEPLOYMENT, 4, "one"))
    taken = owned(DEPLOYMENT, 5, "two", name="other")
    assert await store.relist(Lists(10, taken), DEPLOYMENT) == {KEY, ("team", "other")}


async def test_resync_of_one_namespace_leaves_the_others(store: Store) -> None:
    store.put(make(RELAY, 3))
    lists = Lists(10)
    await store.resync(lists, ["other"])
    assert store.get(RELAY, KEY) is not None
    assert {namespace for _, namespace, _ in lists.asked} == {"other"}
    selectors = {kind: selector for kind, _, selector in lists.asked}
    assert selectors.pop("TokenplaceRelay") == ""
    ours = "app.kubernetes.io/managed-by=tokenplace-operator"
    made = "endpointslice.kubernetes.io/managed-by=tokenplace-operator"
    assert selectors.pop("EndpointSlice") == f"{ours},{made}"
    assert set(selectors.values()) == {ours}


def test_unused_strings_are_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenplace_operator.cache.store.MAX_WORDS", 20)
    for version in range(100):
        store.put(make(SERVICE, version))
    assert len(store._words) < 30


def test_equal_strings_of_all_objects_are_one(store: Store) -> None:
    for name in ("one", "two"):
        store.put(json.loads(json.dumps(make(SERVICE, 1, name))))
    one, two = (store.get(SERVICE, ("team", name)) for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert one["metadata"]["namespace"] is two["metadata"]["namespace"]
    assert next(iter(one["metadata"])) is next(iter(two["metadata"]))
