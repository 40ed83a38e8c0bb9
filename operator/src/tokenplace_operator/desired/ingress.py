"""The way in from outside, with a certificate that cert-manager or the user provides."""

from __future__ import annotations

from typing import Any

from tokenplace_operator.api import Relay, Tls
from tokenplace_operator.desired.metadata import Object, child

OWNED_ANNOTATIONS = ("cert-manager.io/cluster-issuer", "cert-manager.io/issuer")


def ingress(relay: Relay) -> list[Object]:
    """Wanted once the user names a domain or hosts."""
    hosts = relay.ingress.effective_hosts
    if not hosts:
        return []
    spec: dict[str, Any] = {"rules": [_rule(relay, host) for host in hosts]}
    if relay.ingress.class_name:
        spec["ingressClassName"] = relay.ingress.class_name
    if relay.ingress.tls.enabled:
        secret_name = relay.ingress.tls.secret_name or f"{relay.name}-tls"
        spec["tls"] = [{"hosts": list(hosts), "secretName": secret_name}]
    annotations = {**relay.ingress.annotations, **_issuer(relay.ingress.tls)}
    return [
        child(
            relay,
            "networking.k8s.io/v1",
            "Ingress",
            relay.name,
            annotations=annotations,
            spec=spec,
        )
    ]


def _rule(relay: Relay, host: str) -> Object:
    backend = {"service": {"name": relay.name, "port": {"name": "http"}}}
    return {
        "host": host,
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }


def _issuer(tls: Tls) -> dict[str, str]:
    if not tls.enabled:
        return {}
    cluster_issuer, issuer = OWNED_ANNOTATIONS
    named = {cluster_issuer: tls.cluster_issuer, issuer: tls.issuer}
    return {annotation: name for annotation, name in named.items() if name}
