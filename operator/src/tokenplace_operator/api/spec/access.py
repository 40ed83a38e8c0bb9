"""spec.service, spec.ingress and spec.gateway: how clients and compute nodes reach the relay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenplace_operator.api.spec.reader import Json, SpecReader


@dataclass(frozen=True, slots=True)
class Service:
    """spec.service."""

    type: str = "ClusterIP"
    port: int = 80
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, spec: SpecReader) -> Service:
        """Read the section."""
        return cls(
            type=spec.text("type", "ClusterIP"),
            port=spec.integer("port", 80, 1, 65535),
            annotations=spec.mapping("annotations", {}),
        )


@dataclass(frozen=True, slots=True)
class Tls:
    """spec.ingress.tls. Without an issuer, secret_name holds a certificate of the user."""

    enabled: bool = True
    secret_name: str = ""
    cluster_issuer: str = ""
    issuer: str = ""


@dataclass(frozen=True, slots=True)
class Ingress:
    """spec.ingress. enabled None: there is an Ingress if domain or hosts is set."""

    enabled: bool | None = None
    domain: str = ""
    hosts: tuple[str, ...] = ()
    class_name: str = "traefik"
    annotations: Mapping[str, str] = field(default_factory=dict)
    tls: Tls = field(default_factory=lambda: Tls(cluster_issuer="letsencrypt-dns01"))

    @classmethod
    def read(cls, spec: SpecReader) -> Ingress:
        """Read the section. The default issuer applies only when tls is not set at all."""
        # A user who sets tls.issuer would otherwise get both issuers.
        default_issuer = "" if "tls" in spec else "letsencrypt-dns01"
        tls = spec.section("tls")
        return cls(
            enabled=spec.flag("enabled") if "enabled" in spec else None,
            domain=spec.text("domain"),
            hosts=spec.texts("hosts"),
            class_name=spec.text("className", "traefik"),
            annotations=spec.mapping("annotations", {}),
            tls=Tls(
                enabled=tls.flag("enabled", default=True),
                secret_name=tls.text("secretName"),
                cluster_issuer=tls.text("clusterIssuer", default_issuer),
                issuer=tls.text("issuer"),
            ),
        )

    @property
    def effective_hosts(self) -> tuple[str, ...]:
        """The hosts of the Ingress, in the user's order; empty when no Ingress is desired."""
        return () if self.enabled is False else self.named_hosts

    @property
    def named_hosts(self) -> tuple[str, ...]:
        """The hosts of the section, also when no Ingress is desired."""
        if self.hosts:
            return self.hosts
        return (f"relay.{self.domain}",) if self.domain else ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """spec.gateway. parents: parentRefs of gateway.networking.k8s.io/v1; empty: no HTTPRoute."""

    parents: tuple[Json, ...] = ()
    hosts: tuple[str, ...] = ()

    @classmethod
    def read(cls, spec: SpecReader) -> Gateway:
        """Read the section."""
        return cls(parents=spec.objects("parentRefs"), hosts=spec.texts("hosts"))
