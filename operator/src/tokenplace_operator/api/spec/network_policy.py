"""spec.networkPolicy: the traffic to and from the relay that is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenplace_operator.api.spec.reader import Json, SpecReader


@dataclass(frozen=True, slots=True)
class Peer:
    """Pods that match both selectors; an empty namespace selector matches every namespace."""

    namespace_selector: Json = field(default_factory=dict)
    pod_selector: Json = field(default_factory=dict)

    @classmethod
    def read(cls, spec: SpecReader, default: Peer) -> Peer:
        """Read the section; each selector falls back to its own default."""
        return cls(
            namespace_selector=spec.mapping("namespaceSelector", default.namespace_selector),
            pod_selector=spec.mapping("podSelector", default.pod_selector),
        )


TRAEFIK = Peer(pod_selector={"matchLabels": {"app.kubernetes.io/name": "traefik"}})
KUBE_DNS = Peer(pod_selector={"matchLabels": {"k8s-app": "kube-dns"}})
PROMETHEUS = Peer(pod_selector={"matchLabels": {"app.kubernetes.io/name": "prometheus"}})


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """spec.networkPolicy. extra_ingress, extra_egress: rules of networking.k8s.io/v1."""

    enabled: bool = True
    ingress_controller: Peer = TRAEFIK
    dns: Peer = KUBE_DNS
    monitoring: Peer = PROMETHEUS
    extra_ingress: tuple[Json, ...] = ()
    extra_egress: tuple[Json, ...] = ()

    @classmethod
    def read(cls, spec: SpecReader) -> NetworkPolicy:
        """Read the section."""
        return cls(
            enabled=spec.flag("enabled", default=True),
            ingress_controller=Peer.read(spec.section("ingressController"), TRAEFIK),
            dns=Peer.read(spec.section("dns"), KUBE_DNS),
            monitoring=Peer.read(spec.section("monitoring"), PROMETHEUS),
            extra_ingress=spec.objects("extraIngress"),
            extra_egress=spec.objects("extraEgress"),
        )
