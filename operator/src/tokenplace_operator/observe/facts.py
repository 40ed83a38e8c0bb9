"""Observed facts that are no Kubernetes objects, as data for builders and status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from tokenplace_operator.api.kinds import Kind

MAX_ADDRESSES = 128
"""GPU addresses that a NetworkPolicy opens at most."""
PENDING_SECONDS = 60.0
SETTLED_SECONDS = 600.0
"""How long a certificate is kept before it is read again."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Observed once per reconcile; equal facts and an equal relay give equal children.

    gpu_addresses: IPv4 and IPv6 addresses of gpu.host, including those in their grace time;
    sorted, without duplicates. Empty while the host is unresolved, and in other modes.
    gpu_retiring: those of gpu_addresses that DNS has not returned for a while and that close soon.
    apis: the optional kinds that this cluster serves now.
    nameservers: the addresses that pods of this cluster send DNS queries to.
    """

    gpu_addresses: tuple[str, ...] = ()
    gpu_retiring: tuple[str, ...] = ()
    apis: frozenset[Kind] = frozenset()
    nameservers: tuple[str, ...] = ()

    @property
    def begins_with_ipv6(self) -> bool:
        """Whether the pods' first address is IPv6, as that of the DNS Service; probes use it."""
        return bool(self.nameservers) and all(":" in address for address in self.nameservers)


@dataclass(frozen=True, slots=True)
class UpstreamHealth:
    """The report of a relay.

    up: None when the relay did not report. result: of its probe, or why there is none.
    settled: False when it may change within seconds.
    """

    up: bool | None
    result: str
    settled: bool = True


class CertificateState(StrEnum):
    """The state of a certificate."""

    VALID = "valid"
    NOT_READY = "not ready"
    """cert-manager has not issued it; the text has the reason."""
    MISSING = "missing"
    NOT_SERVED = "not served"
    """The cluster has no cert-manager; when its CRDs appear, every relay is reconciled."""
    UNREADABLE = "unreadable"
    """The operator lacks the right, or the API server did not answer."""
    BROKEN = "broken"
    """The Secret holds no certificate."""


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """State, validity and DNS names of a certificate.

    since, until: its validity, None when unknown. names: its DNS names.
    """

    state: CertificateState
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    names: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it is kept before it is read again."""
        pending = self.state in {CertificateState.NOT_READY, CertificateState.MISSING}
        return PENDING_SECONDS if pending else SETTLED_SECONDS
