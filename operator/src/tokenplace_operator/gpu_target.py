"""The addresses behind gpu.host: asked of DNS once a minute, kept through its failures."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address

from tokenplace_operator.logs import get_logger

log = get_logger(__name__)

REFRESH_SECONDS = 60.0
TIMEOUT_SECONDS = 5.0
MAX_ADDRESSES = 128
MAX_HOSTS = 4096

Lookup = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is known of a host. error: why the newest question got no answer, else empty."""

    addresses: tuple[str, ...]
    error: str = ""


class Resolver:
    """Resolves host names for the reconcile; a failure keeps the addresses that worked."""

    def __init__(self, clock: Callable[[], float], lookup: Lookup | None = None) -> None:
        self._clock = clock
        self._lookup = lookup or system_lookup
        self._known: dict[str, tuple[float, Resolution]] = {}

    async def resolve(self, host: str, last_known: tuple[str, ...] = ()) -> Resolution:
        """The host's addresses, sorted; last_known is what an earlier process had found."""
        asked, before = self._known.get(host, (float("-inf"), Resolution(last_known)))
        if self._clock() - asked < REFRESH_SECONDS:
            return before
        found = await self._ask(host, before)
        if len(self._known) >= MAX_HOSTS:
            self._known.clear()
        self._known[host] = (self._clock(), found)
        return found

    async def _ask(self, host: str, before: Resolution) -> Resolution:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answers = await self._lookup(host)
        except TimeoutError:
            return Resolution(before.addresses, f"no answer within {TIMEOUT_SECONDS:g} s")
        except OSError as error:
            return Resolution(before.addresses, error.strerror or type(error).__name__)
        usable = {answer for answer in answers if _is_usable(answer)}
        if not usable:
            return Resolution(before.addresses, "only addresses that pods cannot reach")
        return Resolution(tuple(sorted(usable)[:MAX_ADDRESSES]))


async def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver for IPv4 and IPv6 addresses."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _is_usable(address: str) -> bool:
    ip = ip_address(address)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast)
