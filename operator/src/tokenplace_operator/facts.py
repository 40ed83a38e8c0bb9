"""What a reconcile knows beyond the TokenplaceRelay: observed inputs of the builders, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """Observed once per reconcile; equal facts and an equal relay give equal children.

    gpu_addresses: IPv4 and IPv6 addresses that gpu.host resolves to (and those still in their
    grace time), sorted, without duplicates. Empty while nothing is resolved, and in other modes.
    """

    gpu_addresses: tuple[str, ...] = ()
