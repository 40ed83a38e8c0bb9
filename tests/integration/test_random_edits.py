"""A property: whatever is edited, in the end the cluster is what a fresh build would make of it."""

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenplace_cluster.control_plane.objects import Object
from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.subjects.relays import Relays

HEADLESS: Object = {"mode": "Headless", "addresses": ["192.0.2.1"]}
ADDED = {
    "Deployment/relay.spec.template.metadata.labels.x",
    "Service/relay.spec.ports[other]",
}
"""What the edits below add where others may: server-side apply leaves it to who added it."""


def named(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    """JSON in which lists of things with names are maps, and no uid of an owner is left."""
    if isinstance(value, dict):
        return {name: named(one) for name, one in value.items() if name != "uid"}
    if isinstance(value, list) and all(isinstance(one, dict) and "name" in one for one in value):
        return {f"[{one['name']}]": named(one) for one in value}
    return value


def differences(one: object, other: object, path: str = "") -> set[str]:
    """Where two values differ: `Service/relay.spec.ports[http].port`."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = one.keys() | other.keys()
        parts = ((name if "[" in name or not path else f".{name}", name) for name in names)
        found = (differences(one.get(n), other.get(n), path + part) for part, n in parts)
        return set().union(*found)
    return set() if one == other else {path}


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 1),
        "ingress": st.sampled_from([{"domain": "example.com"}, {"hosts": ["a.example.com"]}, {}]),
        "service": st.fixed_dictionaries({"port": st.integers(1, 65535)}),
        "networkPolicy": st.fixed_dictionaries({"enabled": st.booleans()}),
        "gpu": st.sampled_from([HEADLESS, {"mode": "None"}]),
        "monitoring": st.fixed_dictionaries(
            {"dashboard": st.fixed_dictionaries({"enabled": st.booleans()})}
        ),
        "port": st.integers(1024, 65535),
        "paused": st.booleans(),
    },
)
DRIFTS: dict[str, Any] = {
    "deployment": {"spec": {"replicas": 7, "template": {"metadata": {"labels": {"x": "y"}}}}},
    "service": {"spec": {"ports": [{"name": "other", "port": 9}]}},
    "networkpolicy": {"spec": {"egress": [{}]}},
    "ingress": {"spec": {"rules": [{"host": "theirs.example.com"}]}},
    "serviceaccount": {"metadata": {"labels": {"app.kubernetes.io/name": "theirs"}}},
}
EDITS = st.one_of(
    st.tuples(st.just("apply"), SPECS),
    st.tuples(st.just("delete"), st.sampled_from(sorted(DRIFTS))),
    st.tuples(st.just("drift"), st.sampled_from(sorted(DRIFTS))),
)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("cluster_operator")
def test_random_edits_end_where_a_fresh_build_does(relays: Relays, eventually: Eventually) -> None:
    def agrees(fresh: dict[str, Object]) -> bool:
        assert differences(named(relays.wishes()), fresh) <= ADDED
        return True

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(EDITS, min_size=2, max_size=6), SPECS)
    def end_the_same(edits: list[tuple[str, Any]], last: Object) -> None:
        last = {**last, "paused": False}
        relays.apply(**last)
        fresh = named(eventually(partial(children_of_the_newest_spec, relays), seconds=60))
        for verb, what in edits:
            if verb == "apply":
                relays.apply(**what)
            elif verb == "delete":
                relays.try_delete("relay", what)
            else:
                relays.try_patch(DRIFTS[what], "relay", what)
        relays.apply(**last)
        eventually(partial(agrees, fresh), seconds=60)
        relays.delete()
        eventually(lambda: relays.leftovers() == set(), seconds=60)

    end_the_same()


def children_of_the_newest_spec(relays: Relays) -> dict[str, Object]:
    relays.when(Stalled="False")
    return relays.wishes()
