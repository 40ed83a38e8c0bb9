"""The addresses behind gpu.host: asked of DNS once a minute, kept through its failures.

An address that DNS no longer names stays open for a grace time, since pods and their connections
may still use it. The time counts from the first answer without it: while DNS fails, nothing closes.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from tokenplace_operator.logs import get_logger
from tokenplace_operator.metrics import Metrics

log = get_logger(__name__)

REFRESH_SECONDS = 60.0
GRACE_SECONDS = 600.0
RETIRING_SECONDS = 300.0
"""Missing for this long, an address is said to retire. Names that rotate through more addresses
than fit into one answer would otherwise change the status each minute."""
TIMEOUT_SECONDS = 5.0
MAX_ADDRESSES = 128
MAX_HOSTS = 4096

Lookup = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What is known of a host.

    addresses: all that are to be open. error: why the newest question got no answer, else empty.
    retiring: those of addresses that DNS has not named for a while.
    """

    addresses: tuple[str, ...]
    error: str = ""
    retiring: tuple[str, ...] = ()


@dataclass(slots=True)
class _Host:
    """missing_since: for each open address, when DNS first left it out; None while it is named."""

    missing_since: dict[str, float | None] = field(default_factory=dict)
    asked: float = float("-inf")
    error: str = ""


class Resolver:
    """Resolves host names for the reconcile; a failure keeps the addresses that worked."""

    def __init__(
        self, clock: Callable[[], float], metrics: Metrics, lookup: Lookup | None = None
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._lookup = lookup or system_lookup
        self._known: dict[str, _Host] = {}

    async def resolve(self, host: str, last_known: tuple[str, ...] = ()) -> Resolution:
        """The host's addresses, sorted; last_known is what an earlier process had found."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= MAX_HOSTS:
                self._known.clear()
            known = self._known[host] = _Host(dict.fromkeys(last_known))
        if self._clock() - known.asked >= REFRESH_SECONDS:
            await self._refresh(host, known)
        return self._resolution(known)

    async def _refresh(self, host: str, known: _Host) -> None:
        known.asked = self._clock()
        named, known.error = await self._ask(host)
        self._metrics.gpu_lookups.labels("failed" if known.error else "answered").inc()
        if known.error:
            return
        now = self._clock()
        for address in named:
            known.missing_since[address] = None
        for address, since in list(known.missing_since.items()):
            if address in named:
                continue
            if since is not None and now - since >= GRACE_SECONDS:
                del known.missing_since[address]
            else:
                known.missing_since[address] = now if since is None else since

    async def _ask(self, host: str) -> tuple[frozenset[str], str]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answers = await self._lookup(host)
        except TimeoutError:
            return frozenset(), f"no answer within {TIMEOUT_SECONDS:g} s"
        except OSError as error:
            return frozenset(), error.strerror or type(error).__name__
        usable = frozenset(answer for answer in answers if _is_usable(answer))
        return usable, "" if usable else "only addresses that pods cannot reach"

    def _resolution(self, known: _Host) -> Resolution:
        """At most MAX_ADDRESSES, and those that DNS names before those that it does not."""
        now = self._clock()
        ordered = sorted(known.missing_since, key=lambda a: (known.missing_since[a] is not None, a))
        open_now = sorted(ordered[:MAX_ADDRESSES])
        retiring = [
            address
            for address in open_now
            if (since := known.missing_since[address]) is not None
            and now - since >= RETIRING_SECONDS
        ]
        return Resolution(tuple(open_now), known.error, tuple(retiring))


async def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver for IPv4 and IPv6 addresses.

    The final dot keeps the search domains out: pods get the name as a CNAME, which has none.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host.rstrip(".") + ".", None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def _is_usable(address: str) -> bool:
    ip = ip_address(address)
    return not (ip.is_loopback or ip.is_unspecified or ip.is_link_local or ip.is_multicast)
