"""Checks of IP addresses that come from users and from DNS."""

from ipaddress import IPv4Address, IPv6Address, ip_address


def parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address that the text holds, or None."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def is_reachable(text: str) -> bool:
    """Whether the text is an address outside a pod that the pod can send to."""
    ip = parse(text)
    if ip is None:
        return False
    # In a pod, loopback and link-local addresses mean the pod or its node.
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast)


def is_nameserver(text: str) -> bool:
    """Whether the text is an address that a pod can ask for names.

    Link-local addresses count: NodeLocal DNSCache answers under one.
    """
    ip = parse(text)
    return ip is not None and not (ip.is_loopback or ip.is_unspecified)
