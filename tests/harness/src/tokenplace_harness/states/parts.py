"""Cases of the conditions that speak of one part: image, policy, upstream, certificate, route."""

from datetime import timedelta
from typing import Any

from tokenplace_harness.states.seen import DIGEST, NOW, Case, pod
from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import HTTP_ROUTE, OPTIONAL_KINDS, Object
from tokenplace_operator.children.plan import Blocked, Plan
from tokenplace_operator.observe.certificates import CertificateInfo, CertificateState
from tokenplace_operator.observe.facts import Facts
from tokenplace_operator.observe.upstream_health import UpstreamHealth

EXTERNAL = {"gpu": {"host": "gpu.example.com"}}
TLS = {"ingress": {"domain": "example.com"}}
OWN_TLS = {"ingress": {"domain": "example.com", "tls": {"secretName": "mine"}}}


def certificate(
    state: CertificateState, text: str = "", days: float | None = None, *names: str
) -> Object:
    until = None if days is None else NOW + timedelta(days=days)
    return {"certificate": CertificateInfo(state, text, until=until, names=names)}


HOSTS = ["relay.example.com"]
ROUTED = {"gateway": {"parentRefs": [{"name": "public"}], "hosts": HOSTS}}
ROUTED_TWICE = {"gateway": {"parentRefs": [{"name": "public"}, {"name": "inner"}], "hosts": HOSTS}}
APIS = Facts(apis=frozenset(OPTIONAL_KINDS))
ITS_POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "relay"}}
REACHED = {
    "type": "UpstreamReachable",
    "status": "True",
    "reason": "UpstreamResponding",
    "message": "as before",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-11-24T11:00:00Z",
}
ITS_DASHBOARD = {"kind": "ConfigMap", "metadata": {"name": "relay-dashboard"}}


def answer(accepted: str, text: str, gateway: str = "public") -> Object:
    """What the controller of a Gateway says of a route."""
    said = {"type": "Accepted", "status": accepted, "reason": "Any", "message": text}
    parent = {"group": HTTP_ROUTE.group, "kind": "Gateway", "name": gateway}
    return {"parentRef": parent, "conditions": [said]}


def routed(*answers: Object) -> dict[str, Any]:
    """What is seen of a route once Gateways have answered."""
    return {"facts": APIS, "route": {"status": {"parents": list(answers)}}}


PARTS: dict[str, Case] = {
    "tag": Case(
        {"image": {"tag": "v1"}},
        {"pods": (pod(ready=True),)},
        {Type.IMAGE_PINNED: ("False", Reason.MUTABLE_TAG, f"set spec.image.digest to {DIGEST}.")},
    ),
    "tag of an image that never ran": Case(
        {"image": {"tag": "v1"}},
        {"pods": ()},
        {
            Type.IMAGE_PINNED: (
                "False",
                Reason.MUTABLE_TAG,
                "to pin what runs, set spec.image.digest.",
            )
        },
    ),
    "policy off": Case(
        {"networkPolicy": {"enabled": False}},
        wanted={
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_DISABLED, "nothing is denied")
        },
    ),
    "policy that was written before a refusal": Case(
        seen={"plan": Plan(skip=(ITS_POLICY,)), "refusal": "exceeded quota"},
        wanted={
            Type.STALLED: ("True", Reason.APPLY_REJECTED, "exceeded quota"),
            Type.NETWORK_POLICY_ACCURATE: ("True", Reason.POLICY_UP_TO_DATE, "exactly"),
        },
    ),
    "policy that came to its refusal": Case(
        seen={"plan": Plan(apply=(ITS_POLICY,)), "refusal": "exceeded quota"},
        wanted={
            Type.STALLED: ("True", Reason.APPLY_REJECTED, "exceeded quota"),
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_NOT_APPLIED, "see Ready"),
        },
    ),
    "policy off in a pause": Case(
        {"networkPolicy": {"enabled": False}, "paused": True},
        {"plan": Plan(prune=(ITS_POLICY,))},
        {
            Type.STALLED: ("True", Reason.PAUSED, "1 change not made"),
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.POLICY_DISABLED,
                "the NetworkPolicy of before is still there and denies",
            ),
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
    "upstream of a relay of which no pod runs": Case(
        EXTERNAL,
        {"pods": (pod(waiting="CrashLoopBackOff"),), "previous": {"conditions": [REACHED]}},
        {Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "as soon as a pod of it")},
    ),
    "upstream after a restart of the operator": Case(
        EXTERNAL,
        {"previous": {"conditions": [REACHED]}},
        {Type.UPSTREAM_REACHABLE: ("True", Reason.UPSTREAM_RESPONDING, "as before")},
    ),
    "upstream not told": Case(
        EXTERNAL,
        {"upstream": UpstreamHealth(None, "no answer within 3 s")},
        {Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "no answer within 3 s.")},
    ),
    "upstream up": Case(
        EXTERNAL,
        {"upstream": UpstreamHealth(True, "http")},
        {Type.UPSTREAM_REACHABLE: ("True", Reason.UPSTREAM_RESPONDING, "reaches gpu-server:5015.")},
    ),
    "upstream down": Case(
        EXTERNAL,
        {"upstream": UpstreamHealth(False, "dns")},
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
        certificate(CertificateState.VALID, "", 69.5, "*.example.com"),
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
        certificate(CertificateState.VALID),
        {Type.CERTIFICATE_READY: ("True", Reason.CERTIFICATE_VALID, "is valid.")},
    ),
    "certificate ends": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 13.9),
        {
            Type.CERTIFICATE_READY: (
                "True",
                Reason.CERTIFICATE_EXPIRING_SOON,
                "Secret mine is valid until 2026-12-08, 13 days left; renew it",
            )
        },
    ),
    "certificate ends today": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 1.5),
        {Type.CERTIFICATE_READY: ("True", Reason.CERTIFICATE_EXPIRING_SOON, ", 1 day left;")},
    ),
    "certificate ended": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 0),
        {Type.CERTIFICATE_READY: ("False", Reason.CERTIFICATE_EXPIRED, "renew it")},
    ),
    "certificate of tomorrow": Case(
        OWN_TLS,
        {"certificate": CertificateInfo(CertificateState.VALID, since=NOW + timedelta(days=1))},
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_NOT_YET_VALID,
                "Secret mine is valid from 2026-11-25T12:00:00Z on only; check the clocks",
            )
        },
    ),
    "certificate of others": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 60, "a.example.com", "*.relay.example.com"),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_HOST_MISMATCH,
                "is not for relay.example.com",
            )
        },
    ),
    "certificate pending": Case(
        TLS,
        certificate(CertificateState.NOT_READY, "order is pending"),
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
        certificate(CertificateState.MISSING),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_NOT_FOUND,
                "check that cert-manager",
            )
        },
    ),
    "secret missing": Case(
        OWN_TLS,
        certificate(CertificateState.MISSING),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.TLS_SECRET_NOT_FOUND,
                "kubectl create secret tls mine",
            )
        },
    ),
    "secret broken": Case(
        OWN_TLS,
        certificate(CertificateState.BROKEN),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.TLS_SECRET_INVALID,
                "no readable PEM certificate",
            )
        },
    ),
    "closed to its own Service": Case(
        {"service": {"type": "NodePort"}},
        wanted={
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.EXTRA_INGRESS_REQUIRED,
                "name their networks in networkPolicy.extraIngress",
            )
        },
    ),
    "too many addresses": Case(
        EXTERNAL,
        {"facts": Facts(gpu_addresses=tuple(f"192.0.2.{last}" for last in range(128)))},
        {Type.NETWORK_POLICY_ACCURATE: ("False", Reason.TOO_MANY_GPU_ADDRESSES, "128 addresses")},
    ),
    "addresses that retire": Case(
        EXTERNAL,
        {"facts": Facts(gpu_addresses=("192.0.2.1", "192.0.2.2"), gpu_retiring=("192.0.2.1",))},
        {
            Type.NETWORK_POLICY_ACCURATE: (
                "True",
                Reason.POLICY_UP_TO_DATE,
                "DNS no longer names 192.0.2.1: they close 10 minutes after that.",
            )
        },
    ),
    "monitored in the open": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}}},
        {"facts": Facts(apis=frozenset(OPTIONAL_KINDS))},
        {
            Type.MONITORING_READY: (
                "True",
                Reason.MONITORING_CONFIGURED,
                "set monitoring.tokenSecretRef",
            )
        },
    ),
    "monitored under a name that is taken": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}}},
        {"facts": APIS, "plan": Plan(blocked=(Blocked("ServiceMonitor", "relay", "helm"),))},
        {
            Type.STALLED: ("True", Reason.RESOURCE_NAME_CONFLICT, "belongs to helm"),
            Type.MONITORING_READY: ("False", Reason.MONITORING_NOT_APPLIED, "see Ready"),
        },
    ),
    "monitored in a pause": Case(
        {"monitoring": {"dashboard": {"enabled": True}}, "paused": True},
        {"facts": APIS, "plan": Plan(apply=(ITS_DASHBOARD,))},
        {
            Type.STALLED: ("True", Reason.PAUSED, "1 change not made"),
            Type.MONITORING_READY: ("False", Reason.MONITORING_NOT_APPLIED, "see Ready"),
        },
    ),
    "monitored where nobody can": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}},
        {"facts": Facts(apis=frozenset({HTTP_ROUTE}))},
        {
            Type.READY: ("True", Reason.AVAILABLE, "Relay is ready."),
            Type.MONITORING_READY: (
                "False",
                Reason.MONITORING_CRDS_NOT_FOUND,
                "no ServiceMonitor and PrometheusRule: install the CRDs",
            ),
        },
    ),
    "no Gateway API": Case(
        ROUTED,
        wanted={Type.ROUTE_READY: ("False", Reason.GATEWAY_CRDS_NOT_FOUND, "no HTTPRoute")},
    ),
    "no Gateway": Case(
        ROUTED,
        {"facts": Facts(apis=frozenset({HTTP_ROUTE}))},
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "work: public.")},
    ),
    "route under a name that is taken": Case(
        ROUTED,
        {
            **routed(answer("True", "ok")),
            "plan": Plan(blocked=(Blocked("HTTPRoute", "relay", "helm"),)),
        },
        {
            Type.STALLED: ("True", Reason.RESOURCE_NAME_CONFLICT, "belongs to helm"),
            Type.ROUTE_READY: ("False", Reason.ROUTE_NOT_APPLIED, "see Ready"),
        },
    ),
    "route of which one Gateway says nothing": Case(
        ROUTED_TWICE,
        routed(answer("True", "ok"), answer("True", "so says another controller")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "exist and work: inner.")},
    ),
    "route of which only a Gateway of before speaks": Case(
        ROUTED,
        routed(answer("True", "ok", "old")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "exist and work: public.")},
    ),
    "route that a Gateway of before refuses": Case(
        ROUTED_TWICE,
        routed(answer("True", "ok"), answer("False", "no", "old"), answer("True", "ok", "inner")),
        {Type.ROUTE_READY: ("True", Reason.ROUTE_ACCEPTED, "serve the route")},
    ),
    "route of which a Gateway is not sure": Case(
        ROUTED,
        routed(answer("Unknown", "waiting")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "exist and work: public.")},
    ),
    "route refused": Case(
        ROUTED,
        routed(answer("False", "no matching listener")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_REJECTED, "no matching listener")},
    ),
    "route accepted": Case(
        ROUTED,
        routed(answer("True", "ok")),
        {Type.ROUTE_READY: ("True", Reason.ROUTE_ACCEPTED, "serve the route")},
    ),
    "secret unreadable": Case(
        OWN_TLS,
        certificate(CertificateState.UNREADABLE, "the operator has no right to read it"),
        {
            Type.CERTIFICATE_READY: (
                "Unknown",
                Reason.CERTIFICATE_UNREADABLE,
                "the operator has no right to read it.",
            )
        },
    ),
}
