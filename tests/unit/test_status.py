"""Every condition with every status and reason, and that the summary never contradicts itself."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tokenplace_operator import status as statuses
from tokenplace_operator.api import Relay, parse
from tokenplace_operator.apply import Blocked, Plan
from tokenplace_operator.certificate import Found, State
from tokenplace_operator.conditions import Reason, Type
from tokenplace_operator.facts import Facts
from tokenplace_operator.kinds import HTTP_ROUTE, OPTIONAL_KINDS, Object
from tokenplace_operator.status import Observed
from tokenplace_operator.status.observed import Rollback
from tokenplace_operator.upstream import Report

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
IMAGE = f"ghcr.io/futuroptimist/tokenplace-relay@{DIGEST}"
ITS_POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "relay"}}


def make_relay(**spec: object) -> Relay:
    metadata = {"name": "relay", "namespace": "default", "uid": "u", "generation": 3}
    full = {"image": {"digest": DIGEST}, "gpu": {"mode": "None"}, **spec}
    return parse({"metadata": metadata, "spec": full})


def make_deployment(
    *,
    available: int = 1,
    replicas: int = 1,
    behind: bool = False,
    conditions: tuple[Object, ...] = (),
) -> Object:
    counts = {"replicas": replicas, "updatedReplicas": replicas}
    ready = {"readyReplicas": available, "availableReplicas": available}
    container = {"name": "relay", "image": IMAGE}
    return {
        "metadata": {"generation": 2},
        "spec": {"template": {"spec": {"containers": [container]}}},
        "status": {
            "observedGeneration": 1 if behind else 2,
            **counts,
            **ready,
            "conditions": list(conditions),
        },
    }


def condition(kind: str, status: str, reason: str, message: str = "", age: int = 0) -> Object:
    since = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


COMPLETE = condition("Progressing", "True", "NewReplicaSetAvailable")
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded", "has timed out progressing")
REFUSED = condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: pods")


def pod(*, waiting: str = "", ready: bool = False, started: bool = True) -> Object:
    container: Object = {"name": "relay", "ready": ready, "started": started, "imageID": IMAGE}
    container["state"] = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {"metadata": {"name": "relay-1"}, "status": {"containerStatuses": [container]}}


def unscheduled() -> Object:
    text = "0/3 nodes are available"
    gate = {"type": "PodScheduled", "reason": "Unschedulable", "message": text}
    return {"metadata": {"name": "relay-1"}, "status": {"conditions": [gate]}}


@dataclass(frozen=True, slots=True)
class Case:
    """What is observed, and the conditions that follow."""

    spec: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    wanted: dict[Type, tuple[str, Reason, str]] = field(default_factory=dict)


def not_ready(reason: Reason, text: str, *, must_act: bool = False) -> dict[Type, Any]:
    """Ready, Reconciling and Stalled for what is wrong."""
    calm = Reason.PROGRESSING
    works = ("False", calm, "Waiting for a change by you.") if must_act else ("True", reason, text)
    waits = ("True", reason, text) if must_act else ("False", calm, "Nothing waits for you.")
    return {
        Type.READY: ("False", reason, text),
        Type.RECONCILING: works,
        Type.STALLED: waits,
    }


def rollout(*pods: Object, conditions: tuple[Object, ...] = ()) -> dict[str, Any]:
    return {"deployment": make_deployment(available=0, conditions=conditions), "pods": pods}


EXTERNAL = {"gpu": {"host": "gpu.example.com"}}
TLS = {"ingress": {"domain": "example.com"}}
OWN_TLS = {"ingress": {"domain": "example.com", "tls": {"secretName": "mine"}}}


def certificate(state: State, text: str = "", days: float | None = None, *names: str) -> Object:
    until = None if days is None else NOW + timedelta(days=days)
    return {"certificate": Found(state, text, until, names)}


ROUTED = {"gateway": {"parentRefs": [{"name": "public"}], "hosts": ["relay.example.com"]}}


def routed(accepted: str, text: str) -> dict[str, Any]:
    """What is seen of a route once its Gateway has answered."""
    answer = {"type": "Accepted", "status": accepted, "reason": "Any", "message": text}
    route = {"status": {"parents": [{"conditions": [answer]}]}}
    return {"facts": Facts(apis=frozenset({HTTP_ROUTE})), "route": route}


CASES = {
    "serves": Case(
        wanted={
            Type.READY: ("True", Reason.AVAILABLE, "The relay serves."),
            Type.RECONCILING: ("False", Reason.SETTLED, "as wanted"),
            Type.STALLED: ("False", Reason.SETTLED, "Nothing waits"),
            Type.AVAILABLE: ("True", Reason.AVAILABLE, "1 pods serve."),
            Type.IMAGE_PINNED: ("True", Reason.DIGEST, "by its digest"),
            Type.NETWORK_POLICY_ACCURATE: ("True", Reason.POLICY_CURRENT, "exactly"),
            Type.PAUSED: ("False", Reason.ACTIVE, "as the spec says"),
        }
    ),
    "stopped": Case(
        {"replicas": 0},
        {"deployment": make_deployment(available=0, replicas=0)},
        {
            Type.READY: ("True", Reason.SCALED_TO_ZERO, "replicas is 0"),
            Type.AVAILABLE: ("False", Reason.SCALED_TO_ZERO, "replicas is 0"),
        },
    ),
    "name taken": Case(
        seen={"plan": Plan(blocked=(Blocked("Service", "relay", "Deployment web"),))},
        wanted=not_ready(
            Reason.NAME_TAKEN, "Service relay belongs to Deployment web.", must_act=True
        ),
    ),
    "refused": Case(
        seen={"refusal": "exceeded quota"},
        wanted=not_ready(Reason.APPLY_REFUSED, "exceeded quota", must_act=True),
    ),
    "paused with changes": Case(
        {"paused": True},
        {"plan": Plan(apply=(ITS_POLICY,))},
        not_ready(Reason.PAUSED, "1 changes not made", must_act=True)
        | {
            Type.PAUSED: ("True", Reason.PAUSED, "1 changes wait"),
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_MISSING, "not as wanted"),
        },
    ),
    "paused without changes": Case(
        {"paused": True},
        wanted={
            Type.READY: ("True", Reason.AVAILABLE, "serves"),
            Type.PAUSED: ("True", Reason.PAUSED, "0 changes wait"),
        },
    ),
    "predecessor": Case(
        seen={"plan": Plan(waiting=(ITS_POLICY,))},
        wanted=not_ready(Reason.WAITING_FOR_DELETION, "NetworkPolicy relay is still"),
    ),
    "no deployment": Case(
        seen={"deployment": None},
        wanted=not_ready(Reason.DEPLOYMENT_MISSING, "does not exist yet"),
    ),
    "generation behind": Case(
        seen={"deployment": make_deployment(behind=True)},
        wanted=not_ready(Reason.ROLLOUT_PENDING, "1 of 1 pods are ready"),
    ),
    "starting": Case(
        seen=rollout(pod(started=False)),
        wanted=not_ready(Reason.ROLLOUT_PENDING, "0 of 1 pods are ready")
        | {Type.AVAILABLE: ("False", Reason.ROLLOUT_PENDING, "No pod serves yet.")},
    ),
    "pull": Case(
        seen=rollout(pod(waiting="ImagePullBackOff")),
        wanted=not_ready(Reason.IMAGE_PULL_FAILED, "check spec.image and pullSecrets"),
    ),
    "crash": Case(
        seen=rollout(pod(waiting="CrashLoopBackOff")),
        wanted=not_ready(Reason.CONTAINER_CRASHES, "see kubectl logs relay-1"),
    ),
    "config": Case(
        seen=rollout(pod(waiting="CreateContainerConfigError")),
        wanted=not_ready(Reason.CONTAINER_CONFIG_INVALID, "check podTemplate"),
    ),
    "unscheduled": Case(
        seen=rollout(unscheduled()),
        wanted=not_ready(Reason.POD_UNSCHEDULABLE, "0/3 nodes are available"),
    ),
    "quota": Case(
        seen=rollout(conditions=(REFUSED,)),
        wanted=not_ready(Reason.POD_REFUSED, "exceeded quota: pods"),
    ),
    "unready after a rollout": Case(
        seen=rollout(pod(), conditions=(COMPLETE,)),
        wanted=not_ready(Reason.PROBE_FAILED, "readiness probe (GET /healthz) fails"),
    ),
    "overdue for its image": Case(
        seen=rollout(pod(waiting="ErrImagePull"), conditions=(LATE,)),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "within 300 s. Pod relay-1 cannot pull", must_act=True
        ),
    ),
    "overdue for its startup": Case(
        seen=rollout(pod(started=False), conditions=(LATE,)),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "startup probe (GET /livez) fails", must_act=True
        ),
    ),
    "overdue for a quota": Case(
        seen=rollout(conditions=(LATE, REFUSED)),
        wanted=not_ready(Reason.ROLLOUT_DEADLINE_EXCEEDED, "exceeded quota", must_act=True),
    ),
    "overdue for reasons unknown": Case(
        seen=rollout(conditions=(LATE,)),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "describe pod. has timed out", must_act=True
        ),
    ),
    "down long after a rollout": Case(
        seen=rollout(
            pod(waiting="CrashLoopBackOff"),
            conditions=(COMPLETE, condition("Available", "False", "Minimum", age=301)),
        ),
        wanted=not_ready(
            Reason.ROLLOUT_DEADLINE_EXCEEDED, "ends soon after its start", must_act=True
        ),
    ),
    "down for a moment after a rollout": Case(
        seen=rollout(
            pod(waiting="CrashLoopBackOff"),
            conditions=(COMPLETE, condition("Available", "False", "Minimum", age=299)),
        ),
        wanted=not_ready(Reason.CONTAINER_CRASHES, "ends soon"),
    ),
    "rolled back": Case(
        seen={"rollback": Rollback("r@sha256:bad", "r@sha256:good", "it crashed")},
        wanted=not_ready(
            Reason.ROLLED_BACK,
            "r@sha256:bad did not get Ready; pods run r@",
            must_act=True,
        )
        | {Type.AVAILABLE: ("True", Reason.AVAILABLE, "1 pods serve.")},
    ),
    "rolled back in vain": Case(
        seen={
            **rollout(pod(waiting="CrashLoopBackOff")),
            "rollback": Rollback("r@sha256:bad", "r@sha256:good", "it crashed"),
        },
        wanted=not_ready(Reason.ROLLED_BACK, "That is not Ready yet. Pod relay-1", must_act=True),
    ),
    "tag": Case(
        {"image": {"tag": "v1"}},
        {"pods": (pod(ready=True),)},
        {Type.IMAGE_PINNED: ("False", Reason.TAG_ONLY, f"set spec.image.digest to {DIGEST}.")},
    ),
    "tag of an image that never ran": Case(
        {"image": {"tag": "v1"}},
        {"pods": ()},
        {Type.IMAGE_PINNED: ("False", Reason.TAG_ONLY, "to pin what runs, set spec.image.digest.")},
    ),
    "policy off": Case(
        {"networkPolicy": {"enabled": False}},
        wanted={
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_DISABLED, "nothing is denied")
        },
    ),
    "host unresolved": Case(
        EXTERNAL,
        {"gpu_error": "no answer within 5 s", "facts": Facts(gpu_addresses=("192.0.2.1",))},
        {
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.GPU_HOST_UNRESOLVED,
                "gpu.example.com does not resolve (no answer within 5 s)",
            )
        },
    ),
    "upstream not asked": Case(
        EXTERNAL,
        wanted={Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "not been asked")},
    ),
    "upstream not told": Case(
        EXTERNAL,
        {"upstream": Report(None, "no answer within 3 s")},
        {Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "no answer within 3 s.")},
    ),
    "upstream up": Case(
        EXTERNAL,
        {"upstream": Report(True, "http")},
        {Type.UPSTREAM_REACHABLE: ("True", Reason.UPSTREAM_ANSWERS, "reaches gpu-server:5015.")},
    ),
    "upstream down": Case(
        EXTERNAL,
        {"upstream": Report(False, "dns")},
        {
            Type.UPSTREAM_REACHABLE: (
                "False",
                Reason.UPSTREAM_UNREACHABLE,
                "gpu-server:5015: its name does not resolve.",
            )
        },
    ),
    "certificate": Case(
        TLS,
        certificate(State.VALID, "", 69.5, "*.example.com"),
        {
            Type.CERTIFICATE_READY: (
                "True",
                Reason.CERTIFICATE_VALID,
                "Certificate relay-tls is valid until 2027-02-02, 69 days left.",
            )
        },
    ),
    "certificate without an end": Case(
        TLS,
        certificate(State.VALID),
        {Type.CERTIFICATE_READY: ("True", Reason.CERTIFICATE_VALID, "is valid.")},
    ),
    "certificate ends": Case(
        OWN_TLS,
        certificate(State.VALID, "", 13.9),
        {
            Type.CERTIFICATE_READY: (
                "True",
                Reason.CERTIFICATE_EXPIRES_SOON,
                "Secret mine is valid until 2026-12-08, 13 days left; renew it",
            )
        },
    ),
    "certificate ended": Case(
        OWN_TLS,
        certificate(State.VALID, "", 0),
        {Type.CERTIFICATE_READY: ("False", Reason.CERTIFICATE_EXPIRED, "renew it")},
    ),
    "certificate of others": Case(
        OWN_TLS,
        certificate(State.VALID, "", 60, "a.example.com", "*.relay.example.com"),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_FOR_OTHERS,
                "is not for relay.example.com",
            )
        },
    ),
    "certificate pending": Case(
        TLS,
        certificate(State.NOT_READY, "order is pending"),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_PENDING,
                "order is pending. See kubectl describe certificate relay-tls.",
            )
        },
    ),
    "certificate missing": Case(
        TLS,
        certificate(State.MISSING),
        {Type.CERTIFICATE_READY: ("False", Reason.CERTIFICATE_MISSING, "is cert-manager")},
    ),
    "secret missing": Case(
        OWN_TLS,
        certificate(State.MISSING),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_MISSING,
                "kubectl create secret tls mine",
            )
        },
    ),
    "secret broken": Case(
        OWN_TLS,
        certificate(State.BROKEN),
        {Type.CERTIFICATE_READY: ("False", Reason.CERTIFICATE_BROKEN, "no PEM certificate")},
    ),
    "closed to its own Service": Case(
        {"service": {"type": "NodePort"}},
        wanted={
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.EXTRA_INGRESS_NEEDED,
                "name their networks in networkPolicy.extraIngress",
            )
        },
    ),
    "too many addresses": Case(
        EXTERNAL,
        {"facts": Facts(gpu_addresses=tuple(f"192.0.2.{last}" for last in range(128)))},
        {Type.NETWORK_POLICY_ACCURATE: ("False", Reason.GPU_HOST_TOO_WIDE, "128 addresses")},
    ),
    "addresses that retire": Case(
        EXTERNAL,
        {"facts": Facts(gpu_addresses=("192.0.2.1", "192.0.2.2"), gpu_retiring=("192.0.2.1",))},
        {
            Type.NETWORK_POLICY_ACCURATE: (
                "True",
                Reason.POLICY_CURRENT,
                "DNS no longer names 192.0.2.1: they close 10 minutes after that.",
            )
        },
    ),
    "not monitored": Case(
        wanted={Type.MONITORING_READY: ("False", Reason.MONITORING_OFF, "asks for nothing")}
    ),
    "monitored in the open": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}}},
        {"facts": Facts(apis=frozenset(OPTIONAL_KINDS))},
        {
            Type.MONITORING_READY: (
                "True",
                Reason.MONITORING_CURRENT,
                "set monitoring.tokenSecretRef",
            )
        },
    ),
    "monitored where nobody can": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}},
        {"facts": Facts(apis=frozenset({HTTP_ROUTE}))},
        {
            Type.READY: ("True", Reason.AVAILABLE, "The relay serves."),
            Type.MONITORING_READY: (
                "False",
                Reason.MONITORING_API_MISSING,
                "no ServiceMonitor and PrometheusRule: install the CRDs",
            ),
        },
    ),
    "no Gateway API": Case(
        ROUTED,
        wanted={Type.ROUTE_READY: ("False", Reason.GATEWAY_API_MISSING, "no HTTPRoute")},
    ),
    "no Gateway": Case(
        ROUTED,
        {"facts": Facts(apis=frozenset({HTTP_ROUTE}))},
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "work: public.")},
    ),
    "route refused": Case(
        ROUTED,
        routed("False", "no matching listener"),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_REFUSED, "no matching listener")},
    ),
    "route accepted": Case(
        ROUTED,
        routed("True", "ok"),
        {Type.ROUTE_READY: ("True", Reason.ROUTE_ACCEPTED, "serve the route")},
    ),
    "secret unreadable": Case(
        OWN_TLS,
        certificate(State.UNREADABLE, "the operator has no right to read it"),
        {
            Type.CERTIFICATE_READY: (
                "Unknown",
                Reason.CERTIFICATE_UNREADABLE,
                "the operator has no right to read it.",
            )
        },
    ),
}


def observed(case: Case) -> Observed:
    seen = Observed(plan=Plan(), deployment=make_deployment(), now=NOW)
    return replace(seen, **case.seen)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_conditions_that_follow(case: Case) -> None:
    status = statuses.compute(make_relay(**case.spec), observed(case))
    found = {one["type"]: one for one in status["conditions"]}
    for kind, (value, reason, text) in case.wanted.items():
        one = found[kind]
        assert (one["status"], one["reason"]) == (value, reason), one["message"]
        assert text in one["message"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_summary_never_contradicts_itself(case: Case) -> None:
    status = statuses.compute(make_relay(**case.spec), observed(case))
    found = {one["type"]: one for one in status["conditions"]}
    true = [k for k in (Type.READY, Type.RECONCILING, Type.STALLED) if found[k]["status"] == "True"]
    assert len(true) == 1
    for one in found.values():
        assert one["message"]
        assert one["observedGeneration"] == 3


def test_every_reason_of_a_condition_is_in_the_table() -> None:
    told = {reason for case in CASES.values() for _, reason, _ in case.wanted.values()}
    elsewhere = {Reason.SPEC_INVALID, Reason.FIELD_CONFLICT}
    assert told | elsewhere == set(Reason)
    assert {kind for case in CASES.values() for kind in case.wanted} == set(Type)


def test_what_a_relay_has_no_use_for_has_no_condition() -> None:
    types = {one["type"] for one in statuses.compute(make_relay(), observed(Case()))["conditions"]}
    assert types.isdisjoint({Type.UPSTREAM_REACHABLE, Type.CERTIFICATE_READY, Type.ROUTE_READY})


def test_a_spec_that_cannot_be_read_keeps_what_is_known() -> None:
    before = statuses.compute(make_relay(), observed(Case()))
    status = statuses.of_invalid(4, ("spec.port: must be an integer",), before, NOW)
    found = {one["type"]: one for one in status["conditions"]}
    assert found[Type.STALLED]["reason"] == Reason.SPEC_INVALID
    assert "spec.port: must be an integer" in found[Type.READY]["message"]
    assert found[Type.AVAILABLE]["observedGeneration"] == 3
    assert status["observedGeneration"] == 4
    assert status["image"] == before["image"]


def test_a_time_of_transition_moves_only_with_the_status() -> None:
    before = statuses.compute(make_relay(), observed(Case()))
    later = NOW + timedelta(hours=1)
    crash = replace(observed(CASES["crash"]), previous=before, now=later)
    during = statuses.compute(make_relay(), crash)
    again = replace(observed(CASES["pull"]), previous=during, now=later + timedelta(hours=1))
    after = statuses.compute(make_relay(), again)

    def since(status: Object, kind: Type) -> str:
        return next(str(c["lastTransitionTime"]) for c in status["conditions"] if c["type"] == kind)

    assert since(during, Type.READY) == "2026-11-24T13:00:00Z"
    assert since(after, Type.READY) == "2026-11-24T13:00:00Z", "another reason is no transition"
    assert since(after, Type.PAUSED) == "2026-11-24T12:00:00Z"


@pytest.mark.parametrize("hours", [-48, 48])
def test_a_step_of_the_clock_changes_nothing(hours: int) -> None:
    before = statuses.compute(make_relay(), observed(Case()))
    stepped = replace(observed(Case()), previous=before, now=NOW + timedelta(hours=hours))
    assert statuses.compute(make_relay(), stepped) == before
