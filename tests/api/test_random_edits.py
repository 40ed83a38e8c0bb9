"""A property: whatever is edited, in the end the cluster is what a fresh build would make of it."""

from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.relays import Object, Relays
from tokenplace_operator import desired
from tokenplace_operator.api import parse
from tokenplace_operator.dns_servers import cluster_nameservers
from tokenplace_operator.drift import is_subset
from tokenplace_operator.facts import Facts

KINDS = "serviceaccount,deployment,service,ingress,networkpolicy,endpointslice,configmap"
HEADLESS: Object = {"mode": "Headless", "addresses": ["192.0.2.1"]}


def agrees(relays: Relays) -> bool:
    """Whether all children of all relays are those of a fresh build, and no other is there."""
    found = relays.all(f"tpr,{KINDS}")
    facts = Facts(nameservers=cluster_nameservers())
    wanted: dict[tuple[str, str], Object] = {}
    for one in found:
        if one["kind"] == "TokenplaceRelay":
            children = desired.build(parse(one), facts)
            wanted |= {(obj["kind"], obj["metadata"]["name"]): obj for obj in children}
    live = {
        (one["kind"], one["metadata"]["name"]): one
        for one in found
        if any(
            owner["kind"] == "TokenplaceRelay"
            for owner in one["metadata"].get("ownerReferences", ())
        )
    }
    assert live.keys() == wanted.keys()
    for name, obj in wanted.items():
        assert is_subset(obj, live[name]), name
    return True


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
    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(EDITS, min_size=2, max_size=6), SPECS)
    def end_the_same(edits: list[tuple[str, Any]], last: Object) -> None:
        relays.apply()
        for verb, what in edits:
            if verb == "apply":
                relays.apply(**what)
            elif verb == "delete":
                relays.try_delete("relay", what)
            else:
                relays.try_patch(DRIFTS[what], "relay", what)
        relays.apply(**{**last, "paused": False})
        eventually(partial(agrees, relays), seconds=60)

    end_the_same()
