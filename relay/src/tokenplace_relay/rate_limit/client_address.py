"""Finds a client's address behind trusted proxies."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from tokenplace_relay.settings.setting import NO_NETWORK

Address = IPv4Address | IPv6Address

_IPV6_PREFIX = 64
"""Bits of an IPv6 address that one customer cannot choose."""


class TrustedProxies:
    """The networks whose X-Forwarded-For header is trusted."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ip_network(text) for text in networks if text != NO_NETWORK)
        # One cache per instance: a cache on the method would keep every instance alive.
        self._is_trusted = lru_cache(maxsize=4096)(self._is_in_a_network)

    def client_address(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """Return the client's IPv4 address, its IPv6 /64 network, or "unknown".

        `forwarded` holds the values of X-Forwarded-For. They are read from the right, and only
        while the proxy that added an entry is trusted: a client can invent all entries before.
        """
        entries = [part.strip() for value in forwarded for part in value.split(",")]
        current = _parse(peer or "")
        while current is not None and entries and self._is_trusted(current):
            address = _parse(entries.pop())
            # An entry that is not an address proves nothing: the last proxy's own address is used.
            if address is None:
                break
            current = address
        return "unknown" if current is None else _customer(current)

    def _is_in_a_network(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    """Parse an address with or without port, brackets or zone; unwrap IPv4-mapped IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    # One colon is before a port; an IPv6 address has at least two.
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both families reports an IPv4 peer as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def _customer(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _IPV6_PREFIX), strict=False))
