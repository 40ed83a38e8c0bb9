"""Names that a relay needs and another object has: blocked until they are free or given."""

from typing import Any

import pytest

from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.relays import Relays

Object = dict[str, Any]

SECONDS = 60
"""A relay that waits for a name retries after seconds, then less and less often."""


def owner(relays: Relays) -> Object:
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "name": "relay",
        "uid": relays.read()["metadata"]["uid"],
        "controller": True,
    }


@pytest.mark.usefixtures("operator")
def test_a_name_stays_refused_until_its_object_has_the_relay_as_its_owner(
    taken: Object, relays: Relays, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="ResourceNameConflict", Stalled="True"), seconds=SECONDS)
    ours = {"app.kubernetes.io/managed-by": "tokenplace-operator"}
    for opt_in in (
        {"labels": ours},
        {"annotations": {"token.place/applied-hash": "0" * 32}},
        {"ownerReferences": [{**owner(relays), "controller": False}]},
    ):
        relays.patch({"metadata": opt_in}, "relay", "service")
        # Whatever else the operator does next, it has seen that.
        relays.patch({"spec": {"drain": {"timeoutSeconds": 21 + len(str(opt_in))}}})
        eventually(lambda: relays.when(Ready="ResourceNameConflict"), seconds=SECONDS)
        assert relays.read("relay", "service")["spec"] == taken["spec"]

    relays.patch({"metadata": {"ownerReferences": [owner(relays)]}}, "relay", "service")
    eventually(lambda: relays.when(Ready="True"), seconds=SECONDS)
    after = relays.read("relay", "service")
    assert after["metadata"]["uid"] == taken["metadata"]["uid"]
    assert after["spec"]["clusterIP"] == taken["spec"]["clusterIP"]
    assert after["spec"]["selector"]["app.kubernetes.io/name"] == "tokenplace-relay"
    assert after["metadata"]["labels"].items() >= ours.items()


@pytest.mark.usefixtures("operator", "taken")
def test_a_name_that_gets_free_is_taken_without_anybodys_help(
    relays: Relays, eventually: Eventually
) -> None:
    relays.apply()
    eventually(lambda: relays.when(Ready="ResourceNameConflict"), seconds=SECONDS)
    relays.delete("relay", "service")
    eventually(lambda: relays.when(Ready="True"), seconds=SECONDS)
