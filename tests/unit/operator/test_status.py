"""Every condition with every status and reason; Ready, Reconciling and Stalled are consistent."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from tokenplace_harness.states import CASES, NOW, Case, make_relay, observed
from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import Object, identity
from tokenplace_operator.children.plan import plan
from tokenplace_operator.cli.details import is_good
from tokenplace_operator.cli.next_steps import step
from tokenplace_operator.desired.build import build
from tokenplace_operator.observe.facts import Facts
from tokenplace_operator.status.compute import compute_status, invalid_status


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_conditions_of_each_case(case: Case) -> None:
    status = compute_status(make_relay(**case.spec), observed(case))
    found = {one["type"]: one for one in status["conditions"]}
    for kind, (value, reason, text) in case.expected.items():
        one = found[kind]
        assert (one["status"], one["reason"]) == (value, reason), one["message"]
        assert text in one["message"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_summary_never_contradicts_itself(case: Case) -> None:
    status = compute_status(make_relay(**case.spec), observed(case))
    found = {one["type"]: one for one in status["conditions"]}
    true = [k for k in (Type.READY, Type.RECONCILING, Type.STALLED) if found[k]["status"] == "True"]
    assert len(true) == 1
    for one in found.values():
        assert one["message"]
        assert one["observedGeneration"] == 3


def test_every_reason_of_a_condition_is_in_the_table() -> None:
    reasons = {reason for case in CASES.values() for _, reason, _ in case.expected.values()}
    elsewhere = {Reason.INVALID_SPEC, Reason.FIELD_CONFLICT}
    assert reasons | elsewhere == set(Reason)
    assert {kind for case in CASES.values() for kind in case.expected} == set(Type)


STEP = re.compile(
    r"\b(check|choose|create|install|issue|name|renew|satisfy|see|set|stop|wait|delete)\b",
    re.IGNORECASE,
)
EXPECTED_FALSE = {Reason.ROLLOUT_IN_PROGRESS, Reason.NO_PODS_AVAILABLE, Reason.SCALED_TO_ZERO}
"""Reasons of False conditions that are no problem: the relay starts, or is stopped."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_problem_names_the_next_step(case: Case) -> None:
    status = compute_status(make_relay(**case.spec), observed(case))
    for one in status["conditions"]:
        if is_good(one) or one["reason"] in EXPECTED_FALSE:
            continue
        assert STEP.search(one["message"]), (one["type"], one["message"])
        assert step(one["reason"]) not in {"", "Nothing."}, one["reason"]


def test_an_unmanaged_object_is_described_by_its_field_managers() -> None:
    service = next(one for one in build(make_relay(), Facts()) if one["kind"] == "Service")
    fields = [
        {"manager": "helm", "operation": "Update"},
        {"manager": "kube-controller-manager", "subresource": "status"},
    ]
    for managed, text in ((fields, "another owner (field manager helm)."), ([], "another owner.")):
        stranger = {"metadata": {"name": "relay", "managedFields": managed}}
        todo = plan([service], {identity(service): stranger}, [], "u")
        status = compute_status(make_relay(), replace(observed(Case()), plan=todo))
        message = next(one["message"] for one in status["conditions"] if one["type"] == Type.READY)
        assert message.startswith(f"Service relay belongs to {text}")


def test_conditions_that_do_not_apply_are_absent() -> None:
    types = {one["type"] for one in compute_status(make_relay(), observed(Case()))["conditions"]}
    assert types.isdisjoint(
        {Type.UPSTREAM_REACHABLE, Type.CERTIFICATE_READY, Type.MONITORING_READY, Type.ROUTE_READY}
    )


def test_an_invalid_spec_keeps_the_previous_status() -> None:
    before = compute_status(make_relay(), observed(Case()))
    status = invalid_status(4, ("spec.port: must be an integer",), before, NOW)
    found = {one["type"]: one for one in status["conditions"]}
    assert found[Type.STALLED]["reason"] == Reason.INVALID_SPEC
    assert "spec.port: must be an integer" in found[Type.READY]["message"]
    assert found[Type.AVAILABLE]["observedGeneration"] == 3
    assert status["observedGeneration"] == 4
    assert status["image"] == before["image"]


def test_a_condition_of_another_writer_is_not_applied() -> None:
    before = compute_status(make_relay(), observed(Case()))
    theirs = {"type": "example.com/Audited", "status": "True", "reason": "Seen", "message": ""}
    before = {**before, "conditions": [theirs, *before["conditions"]]}
    status = invalid_status(4, ("spec.port: must be an integer",), before, NOW)
    assert theirs not in status["conditions"]


@pytest.mark.parametrize("kind", [*Type, "OfAnotherVersion"])
def test_reasons_of_another_version_are_dropped(kind: str) -> None:
    relay = make_relay(gpu={"host": "gpu.example.com"}, ingress={"domain": "example.com"})
    one = {"type": kind, "status": "False", "reason": "OfAnotherVersion", "message": "?"}
    since = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 3}
    before = {"conditions": [{**one, **since}]}
    status = compute_status(relay, replace(observed(Case()), previous=before))
    assert {one["reason"] for one in status["conditions"]} <= {str(one) for one in Reason}


def test_transition_time_changes_only_with_the_status() -> None:
    before = compute_status(make_relay(), observed(Case()))
    later = NOW + timedelta(hours=1)
    crash = replace(observed(CASES["crash loop"]), previous=before, now=later)
    during = compute_status(make_relay(), crash)
    again = replace(
        observed(CASES["image pull failure"]), previous=during, now=later + timedelta(hours=1)
    )
    after = compute_status(make_relay(), again)

    def since(status: Object, kind: Type) -> str:
        return next(str(c["lastTransitionTime"]) for c in status["conditions"] if c["type"] == kind)

    assert since(during, Type.READY) == "2026-11-24T13:00:00Z"
    assert since(after, Type.READY) == "2026-11-24T13:00:00Z", "another reason is no transition"
    assert since(after, Type.PAUSED) == "2026-11-24T12:00:00Z"


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_step_of_the_clock_changes_nothing(hours: int) -> None:
    before = compute_status(make_relay(), observed(Case()))
    stepped = replace(observed(Case()), previous=before, now=NOW + timedelta(hours=hours))
    assert compute_status(make_relay(), stepped) == before
