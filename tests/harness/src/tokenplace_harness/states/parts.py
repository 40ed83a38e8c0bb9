"""Cases of the conditions that speak of one part: image, policy, upstream, certificate, route."""

from datetime import timedelta
from typing import Any

from tokenplace_harness.states.seen import DIGEST, NOW, Case, pod
from tokenplace_operator.certificate import Found, State
from tokenplace_operator.conditions import Reason, Type
from tokenplace_operator.facts import Facts
from tokenplace_operator.kinds import HTTP_ROUTE, OPTIONAL_KINDS, Object
from tokenplace_operator.upstream import Report

EXTERNAL = {"gpu": {"host": "gpu.example.com"}}
TLS = {"ingress": {"domain": "example.com"}}
OWN_TLS = {"ingress": {"domain": "example.com", "tls": {"secretName": "mine"}}}


def certificate(state: State, text: str = "", days: float | None = None, *names: str) -> Object:
    until = None if days is None else NOW + timedelta(days=days)
    return {"certificate": Found(state, text, until=until, names=names)}


ROUTED = {"gateway": {"parentRefs": [{"name": "public"}], "hosts": ["relay.example.com"]}}


def routed(accepted: str, text: str) -> dict[str, Any]:
    """What is seen of a route once its Gateway has answered."""
    answer = {"type": "Accepted", "status": accepted, "reason": "Any", "message": text}
    route = {"status": {"parents": [{"conditions": [answer]}]}}
    return {"facts": Facts(apis=frozenset({HTTP_ROUTE})), "route": route}


PARTS: dict[str, Case] = {
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
    "certificate ends today": Case(
        OWN_TLS,
        certificate(State.VALID, "", 1.5),
        {Type.CERTIFICATE_READY: ("True", Reason.CERTIFICATE_EXPIRES_SOON, ", 1 day left;")},
    ),
    "certificate ended": Case(
        OWN_TLS,
        certificate(State.VALID, "", 0),
        {Type.CERTIFICATE_READY: ("False", Reason.CERTIFICATE_EXPIRED, "renew it")},
    ),
    "certificate of tomorrow": Case(
        OWN_TLS,
        {"certificate": Found(State.VALID, since=NOW + timedelta(days=1))},
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
        {
            Type.CERTIFICATE_READY: (
                "False",
                Reason.CERTIFICATE_BROKEN,
                "no readable PEM certificate",
            )
        },
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
