"""The observed inputs of the builders, as data."""

from __future__ import annotations

from dataclasses import dataclass

from tokenplace_operator.api.kinds import Kind


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
