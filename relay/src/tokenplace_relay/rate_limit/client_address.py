"""Who is asking: the address of the client behind proxies that are trusted."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_IPV6_HOUSEHOLD = 64
"""Bits of an IPv6 address that one customer cannot choose."""


NOBODY = "none"
"""The entry that stands for no network."""


def is_network(text: str) -> str | None:
    """The rule for an entry of the trusted proxies."""
    try:
        if text != NOBODY:
            ip_network(text)
    except ValueError:
        return "must be networks such as 10.0.0.0/8, or none"
    return None


class Proxies:
    """The networks whose X-Forwarded-For is believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ip_network(one) for one in networks if one != NOBODY)
        self._is_trusted = lru_cache(maxsize=4096)(self._look_up)

    def client(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The client's address, as one name for all that a household can choose from.

        `forwarded` are the values of X-Forwarded-For. They are read from the right, and only as
        long as the one who wrote an entry is trusted: all further left may be invented.
        """
        entries = [part.strip() for value in forwarded for part in value.split(",")]
        current = _parse(peer or "")
        while current is not None and entries and self._is_trusted(current):
            found = _parse(entries.pop())
            if found is None:
                break
            current = found
        return "unknown" if current is None else _household(current)

    def _look_up(self, address: Address) -> bool:
        return any(address in one for one in self._networks)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    """An address, also with a port, in brackets, with a zone, or IPv4 dressed as IPv6."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def _household(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _IPV6_HOUSEHOLD), strict=False))
