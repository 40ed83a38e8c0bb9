"""Autoscaler and disruption budget, also for relays that state.mode Memory does not allow."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.api.spec.scaling import Autoscaling, BudgetMode
from tokenplace_operator.desired.autoscaler import autoscaler
from tokenplace_operator.desired.deployment import deployment
from tokenplace_operator.desired.disruption_budget import disruption_budget
from tokenplace_operator.observe.facts import Facts

Object = dict[str, Any]

METADATA = {"name": "relay", "namespace": "team", "uid": "u", "generation": 1}
BASE = parse({"metadata": METADATA, "spec": {"image": {"tag": "v1"}, "gpu": {"mode": "None"}}})


@st.composite
def scalings(draw: st.DrawFn) -> Autoscaling:
    low = draw(st.integers(1, 100))
    high = draw(st.integers(low, 100))
    cpu, memory = draw(st.sampled_from([(60, 0), (0, 80), (60, 80)]))
    return Autoscaling(low, high, cpu, memory)


relays = st.builds(
    replace,
    st.just(BASE),
    replicas=st.integers(0, 100),
    autoscaling=st.none() | scalings(),
    budget=st.sampled_from(BudgetMode),
)


def fewest(relay: Relay) -> int:
    """Return the minimum number of desired pods."""
    autoscaled = relay.autoscaling is not None and relay.replicas > 0
    return relay.autoscaling.min_replicas if relay.autoscaling and autoscaled else relay.replicas


@given(relays)
def test_a_budget_never_makes_a_node_undrainable(relay: Relay) -> None:
    """As the eviction API reckons: one pod may go when at least one disruption is allowed."""
    for budget in disruption_budget(relay):
        spec = budget["spec"]
        assert "minAvailable" not in spec
        for pods in range(fewest(relay), fewest(relay) + 5):
            allowed = pods - (pods - spec["maxUnavailable"])
            assert allowed >= 1
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert spec["selector"] == {"matchLabels": relay.selector}


@given(relays)
def test_a_budget_exists_only_from_two_pods_on(relay: Relay) -> None:
    wanted = fewest(relay) >= 2 and relay.budget is BudgetMode.AUTOMATIC
    assert bool(disruption_budget(relay)) == wanted


@given(relays)
def test_either_the_spec_or_the_autoscaler_sets_the_number_of_pods(relay: Relay) -> None:
    spec = deployment(relay, Facts())[0]["spec"]
    scalers = autoscaler(relay)
    assert ("replicas" in spec) != bool(scalers)
    if relay.replicas == 0:
        assert spec["replicas"] == 0, "a stopped relay stays stopped"
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert target == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "relay"}
        assert scaler["spec"]["minReplicas"] <= scaler["spec"]["maxReplicas"]
        assert scaler["spec"]["metrics"]


def test_the_autoscaler_has_the_configured_metrics() -> None:
    scaled = replace(BASE, autoscaling=Autoscaling(1, 1, 60, 0))
    metrics = autoscaler(scaled)[0]["spec"]["metrics"]
    target = {"type": "Utilization", "averageUtilization": 60}
    assert metrics == [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
