"""The Ingress of a relay, with a certificate from cert-manager or from the user."""

from __future__ import annotations

from tokenplace_operator.api import names
from tokenplace_operator.api.kinds import INGRESS, SERVICE, Object
from tokenplace_operator.api.spec.access import Tls
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.desired.child import child

OWNED_ANNOTATIONS = ("cert-manager.io/cluster-issuer", "cert-manager.io/issuer")
"""Annotations that the operator derives from spec.ingress.tls."""


def ingress(relay: Relay) -> list[Object]:
    """Desired when spec.ingress names a domain or hosts and is not disabled."""
    hosts = relay.ingress.effective_hosts
    if not hosts:
        return []
    spec: Object = {"rules": [_rule(relay, host) for host in hosts]}
    # Without a class name the cluster's default class applies; an empty string would name a class.
    if relay.ingress.class_name:
        spec["ingressClassName"] = relay.ingress.class_name
    if relay.ingress.tls.enabled:
        spec["tls"] = [{"hosts": list(hosts), "secretName": relay.tls_secret_name}]
    # The issuer comes last. The CRD also rejects these keys in spec.ingress.annotations.
    annotations = {**relay.ingress.annotations, **_issuer(relay.ingress.tls)}
    return [child(relay, INGRESS, annotations=annotations, spec=spec)]


def _rule(relay: Relay, host: str) -> Object:
    # By name, so that a change of spec.service.port changes the Service only.
    backend = {"service": {"name": names.child(SERVICE, relay.name), "port": {"name": "http"}}}
    return {
        "host": host,
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }


def _issuer(tls: Tls) -> dict[str, str]:
    if not tls.enabled:
        return {}
    cluster_issuer, issuer = OWNED_ANNOTATIONS
    issuers = {cluster_issuer: tls.cluster_issuer, issuer: tls.issuer}
    return {annotation: name for annotation, name in issuers.items() if name}
