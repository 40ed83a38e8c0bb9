"""What a reconcile knows beyond the TokenplaceRelay: observed inputs of the builders, as data."""

from __future__ import annotations

from dataclasses import dataclass

from tokenplace_operator.api.kinds import Kind


@dataclass(frozen=True, slots=True)
class Facts:
    """Observed once per reconcile; equal facts and an equal relay give equal children.

    gpu_addresses: IPv4 and IPv6 addresses that gpu.host resolves to (and those still in their
    grace time), sorted, without duplicates. Empty while nothing is resolved, and in other modes.
    gpu_retiring: those of gpu_addresses that DNS has not named for a while and that close soon.
    apis: the optional kinds that this cluster serves now.
    nameservers: addresses that the pods of this cluster send DNS questions to.
    """

    gpu_addresses: tuple[str, ...] = ()
    gpu_retiring: tuple[str, ...] = ()
    apis: frozenset[Kind] = frozenset()
    nameservers: tuple[str, ...] = ()

    @property
    def begins_with_ipv6(self) -> bool:
        """Whether pods have IPv6 first, as the DNS Service then has; probes come that way."""
        return bool(self.nameservers) and all(":" in address for address in self.nameservers)
