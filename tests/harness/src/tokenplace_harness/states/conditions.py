"""Cases of the conditions about one part: image, policy, upstream, certificate, route."""

from datetime import timedelta
from typing import Any

from tokenplace_harness.states.cases import DIGEST, NOW, Case, answer, pod
from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.api.kinds import HTTP_ROUTE, OPTIONAL_KINDS, Object
from tokenplace_operator.children.plan import Blocked, Plan
from tokenplace_operator.observe.facts import (
    CertificateInfo,
    CertificateState,
    Facts,
    UpstreamHealth,
)

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
POLICY = {"kind": "NetworkPolicy", "metadata": {"name": "relay"}}
REACHED = {
    "type": "UpstreamReachable",
    "status": "True",
    "reason": "UpstreamResponding",
    "message": "as before",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-11-24T11:00:00Z",
}
DASHBOARD = {"kind": "ConfigMap", "metadata": {"name": "relay-dashboard"}}


def routed(*answers: Object) -> dict[str, Any]:
    """Return the observed state once Gateways have answered."""
    return {"facts": APIS, "route": {"status": {"parents": list(answers)}}}


CONDITION_CASES: dict[str, Case] = {
    "tag": Case(
        {"image": {"tag": "v1"}},
        {"pods": (pod(ready=True),)},
        {Type.IMAGE_PINNED: ("False", Reason.MUTABLE_TAG, f"set spec.image.digest to {DIGEST}.")},
    ),
    "tag of an image that has not run": Case(
        {"image": {"tag": "v1"}},
        {"pods": ()},
        {
            Type.IMAGE_PINNED: (
                "False",
                Reason.MUTABLE_TAG,
                "to pin the current one, set spec.image.digest.",
            )
        },
    ),
    "policy disabled": Case(
        {"networkPolicy": {"enabled": False}},
        expected={
            Type.NETWORK_POLICY_ACCURATE: ("False", Reason.POLICY_DISABLED, "no traffic is denied")
        },
    ),
    "policy applied before a rejection": Case(
        observed={"plan": Plan(skip=(POLICY,)), "rejection": "exceeded quota"},
        expected={
            Type.STALLED: ("True", Reason.APPLY_REJECTED, "exceeded quota"),
            Type.NETWORK_POLICY_ACCURATE: ("True", Reason.POLICY_UP_TO_DATE, "exactly"),
        },
    ),
    "policy not applied because of a rejection": Case(
        observed={"plan": Plan(apply=(POLICY,)), "rejection": "exceeded quota"},
        expected={
            Type.STALLED: ("True", Reason.APPLY_REJECTED, "exceeded quota"),
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.POLICY_NOT_APPLIED,
                "See condition Ready.",
            ),
        },
    ),
    "policy disabled while paused": Case(
        {"networkPolicy": {"enabled": False}, "paused": True},
        {"plan": Plan(prune=(POLICY,))},
        {
            Type.STALLED: ("True", Reason.PAUSED, "with 1 pending change"),
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.POLICY_DISABLED,
                "the previous NetworkPolicy still exists and denies",
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
    "upstream without a report": Case(
        EXTERNAL,
        expected={
            Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "has not reported yet")
        },
    ),
    "upstream while no pod runs": Case(
        EXTERNAL,
        {"pods": (pod(waiting="CrashLoopBackOff"),), "previous": {"conditions": [REACHED]}},
        {Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "once a pod runs")},
    ),
    "upstream after an operator restart": Case(
        EXTERNAL,
        {"previous": {"conditions": [REACHED]}},
        {Type.UPSTREAM_REACHABLE: ("True", Reason.UPSTREAM_RESPONDING, "as before")},
    ),
    "upstream unknown": Case(
        EXTERNAL,
        {"upstream": UpstreamHealth(None, "no answer within 3 s")},
        {Type.UPSTREAM_REACHABLE: ("Unknown", Reason.UPSTREAM_UNKNOWN, "no answer within 3 s.")},
    ),
    "upstream reachable": Case(
        EXTERNAL,
        {"upstream": UpstreamHealth(True, "http")},
        {Type.UPSTREAM_REACHABLE: ("True", Reason.UPSTREAM_RESPONDING, "reaches gpu-server:5015.")},
    ),
    "upstream unreachable": Case(
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
                "Certificate relay-tls is valid until 2027-02-02 (69 days left).",
            )
        },
    ),
    "certificate without an expiry": Case(
        TLS,
        certificate(CertificateState.VALID),
        {Type.CERTIFICATE_READY: ("True", Reason.CERTIFICATE_VALID, "is valid.")},
    ),
    "certificate expires soon": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 13.9),
        {
            Type.CERTIFICATE_READY: (
                "True",
                Reason.CERTIFICATE_EXPIRING_SOON,
                "Secret mine is valid until 2026-12-08 (13 days left). Renew it",
            )
        },
    ),
    "certificate expires in a day": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 1.5),
        {
            Type.CERTIFICATE_READY: (
                "True",
                Reason.CERTIFICATE_EXPIRING_SOON,
                "(1 day left). Renew it",
            )
        },
    ),
    "certificate expired": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 0),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_EXPIRED,
                "Secret mine expired on 2026-11-24. Renew it.",
            )
        },
    ),
    "certificate not yet valid": Case(
        OWN_TLS,
        {"certificate": CertificateInfo(CertificateState.VALID, since=NOW + timedelta(days=1))},
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_NOT_YET_VALID,
                "Secret mine is not valid before 2026-11-25T12:00:00Z. Check the clocks",
            )
        },
    ),
    "certificate for other hosts": Case(
        OWN_TLS,
        certificate(CertificateState.VALID, "", 60, "a.example.com", "*.relay.example.com"),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_HOST_MISMATCH,
                "does not cover relay.example.com.",
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
    "certificate not found": Case(
        TLS,
        certificate(CertificateState.MISSING),
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_NOT_FOUND,
                "Check that cert-manager",
            )
        },
    ),
    "TLS secret not found": Case(
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
    "TLS secret invalid": Case(
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
    "NodePort Service without extraIngress": Case(
        {"service": {"type": "NodePort"}},
        expected={
            Type.NETWORK_POLICY_ACCURATE: (
                "False",
                Reason.EXTRA_INGRESS_REQUIRED,
                "Name the allowed networks in networkPolicy.extraIngress.",
            )
        },
    ),
    "too many GPU addresses": Case(
        EXTERNAL,
        {"facts": Facts(gpu_addresses=tuple(f"192.0.2.{last}" for last in range(128)))},
        {Type.NETWORK_POLICY_ACCURATE: ("False", Reason.TOO_MANY_GPU_ADDRESSES, "128 addresses")},
    ),
    "retiring GPU addresses": Case(
        EXTERNAL,
        {"facts": Facts(gpu_addresses=("192.0.2.1", "192.0.2.2"), gpu_retiring=("192.0.2.1",))},
        {
            Type.NETWORK_POLICY_ACCURATE: (
                "True",
                Reason.POLICY_UP_TO_DATE,
                "DNS no longer returns 192.0.2.1; they are denied after 10 minutes.",
            )
        },
    ),
    "monitoring without a token": Case(
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
    "monitoring with a name conflict": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}}},
        {"facts": APIS, "plan": Plan(blocked=(Blocked("ServiceMonitor", "relay", "helm"),))},
        {
            Type.STALLED: ("True", Reason.RESOURCE_NAME_CONFLICT, "belongs to helm"),
            Type.MONITORING_READY: ("False", Reason.MONITORING_NOT_APPLIED, "See condition Ready."),
        },
    ),
    "monitoring while paused": Case(
        {"monitoring": {"dashboard": {"enabled": True}}, "paused": True},
        {"facts": APIS, "plan": Plan(apply=(DASHBOARD,))},
        {
            Type.STALLED: ("True", Reason.PAUSED, "with 1 pending change"),
            Type.MONITORING_READY: ("False", Reason.MONITORING_NOT_APPLIED, "See condition Ready."),
        },
    ),
    "monitoring without CRDs": Case(
        {"monitoring": {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}},
        {"facts": Facts(apis=frozenset({HTTP_ROUTE}))},
        {
            Type.READY: ("True", Reason.AVAILABLE, "Relay is ready."),
            Type.MONITORING_READY: (
                "False",
                Reason.MONITORING_CRDS_NOT_FOUND,
                "does not serve ServiceMonitor and PrometheusRule. Install the CRDs",
            ),
        },
    ),
    "route without Gateway CRDs": Case(
        ROUTED,
        expected={
            Type.ROUTE_READY: ("False", Reason.GATEWAY_CRDS_NOT_FOUND, "does not serve HTTPRoute")
        },
    ),
    "route without a Gateway": Case(
        ROUTED,
        {"facts": Facts(apis=frozenset({HTTP_ROUTE}))},
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "programmed: public.")},
    ),
    "route with a name conflict": Case(
        ROUTED,
        {
            **routed(answer("True", "ok")),
            "plan": Plan(blocked=(Blocked("HTTPRoute", "relay", "helm"),)),
        },
        {
            Type.STALLED: ("True", Reason.RESOURCE_NAME_CONFLICT, "belongs to helm"),
            Type.ROUTE_READY: ("False", Reason.ROUTE_NOT_APPLIED, "See condition Ready."),
        },
    ),
    "route that one of two Gateways has not accepted": Case(
        ROUTED_TWICE,
        routed(answer("True", "ok"), answer("True", "from another controller")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "programmed: inner.")},
    ),
    "route accepted by a previous Gateway only": Case(
        ROUTED,
        routed(answer("True", "ok", "old")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "programmed: public.")},
    ),
    "route rejected by a previous Gateway": Case(
        ROUTED_TWICE,
        routed(answer("True", "ok"), answer("False", "no", "old"), answer("True", "ok", "inner")),
        {Type.ROUTE_READY: ("True", Reason.ROUTE_ACCEPTED, "Every Gateway accepts the HTTPRoute.")},
    ),
    "route with unknown acceptance": Case(
        ROUTED,
        routed(answer("Unknown", "waiting")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_PENDING, "programmed: public.")},
    ),
    "route rejected": Case(
        ROUTED,
        routed(answer("False", "no matching listener")),
        {Type.ROUTE_READY: ("False", Reason.ROUTE_REJECTED, "no matching listener")},
    ),
    "route accepted": Case(
        ROUTED,
        routed(answer("True", "ok")),
        {Type.ROUTE_READY: ("True", Reason.ROUTE_ACCEPTED, "Every Gateway accepts the HTTPRoute.")},
    ),
    "TLS secret unreadable": Case(
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
