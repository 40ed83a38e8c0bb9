"""The addresses of gpu.host: resolved once a minute and kept while DNS fails.

An address that DNS no longer returns stays open for a grace time, since pods and their connections
may still use it. The time counts from the first answer without it, so nothing closes while DNS
fails.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tokenplace_operator.api.addresses import is_reachable
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.facts import MAX_ADDRESSES

REFRESH_SECONDS = 60.0
GRACE_SECONDS = 600.0
RETIRING_SECONDS = 300.0
"""An address that is missing for this time is reported as retiring. With a shorter time, names
that rotate through more addresses than fit into one answer would change the status each minute."""
TIMEOUT_SECONDS = 5.0
MAX_LOOKUPS = 32
"""Concurrent lookups. Each needs a thread of the system's resolver, which may keep it beyond our
timeout while it waits for a dead server."""

# A pool of its own: lookups that hang must not use up the threads of asyncio.to_thread.
_threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="dns")

Lookup = Callable[[str], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Resolution:
    """The addresses of a host.

    addresses: all that must be open, sorted.
    error: why the last lookup failed; empty when it succeeded.
    retiring: those of addresses that DNS has not returned for a while.
    """

    addresses: tuple[str, ...]
    error: str = ""
    retiring: tuple[str, ...] = ()


@dataclass(slots=True)
class _Host:
    """The answers of DNS to this process.

    missing_since: for each open address, when DNS first left it out; None while it is returned.
    """

    missing_since: dict[str, float | None] = field(default_factory=dict)
    asked: float = float("-inf")
    answered_first: float | None = None
    answered_last: float | None = None
    error: str = ""
    lookup: asyncio.Task[None] | None = None

    def missing_since_with(self, recorded: tuple[str, ...]) -> dict[str, float | None]:
        """As missing_since, with the addresses that a caller recorded before this process ran.

        Those count as returned until the first answer, and end once answers cover a grace time.
        They are used for this caller only: it may have recorded them for another host.
        """
        first, last = self.answered_first, self.answered_last
        if first is not None and last is not None and last - first >= GRACE_SECONDS:
            return self.missing_since
        return {**dict.fromkeys(recorded, first), **self.missing_since}


class Resolver:
    """Resolves host names; a failed lookup keeps the addresses of the last good one."""

    def __init__(
        self, clock: Callable[[], float], metrics: Metrics, lookup: Lookup | None = None
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._lookup = lookup or system_lookup
        self._hosts: BoundedDict[str, _Host] = BoundedDict()

    async def resolve(self, name: str, recorded: tuple[str, ...] = ()) -> Resolution:
        """The addresses of a host; recorded: those that this caller stored earlier.

        Concurrent callers share the lookup in progress.
        """
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host()
        if host.lookup is None and self._clock() - host.asked >= REFRESH_SECONDS:
            host.lookup = asyncio.create_task(self._refresh(name, host), name="dns")
        if host.lookup is not None:
            # A cancelled caller must not cancel the lookup of the others.
            await asyncio.shield(host.lookup)
        return self._resolution(host, recorded)

    async def _refresh(self, name: str, host: _Host) -> None:
        # Set before the lookup, so that a slow server is not asked more often than once a minute.
        host.asked = self._clock()
        try:
            addresses, host.error = await self._ask(name)
        finally:
            host.lookup = None
        self._metrics.gpu_lookups.labels("failed" if host.error else "answered").inc()
        # A failed lookup changes nothing, so failing DNS closes no address.
        if not host.error:
            self._update(host, addresses)

    def _update(self, host: _Host, addresses: frozenset[str]) -> None:
        now = host.answered_last = self._clock()
        if host.answered_first is None:
            host.answered_first = now
        for address in addresses:
            host.missing_since[address] = None
        for address, since in list(host.missing_since.items()):
            if address in addresses:
                continue
            if since is not None and now - since >= GRACE_SECONDS:
                del host.missing_since[address]
            else:
                host.missing_since[address] = now if since is None else since

    async def _ask(self, name: str) -> tuple[frozenset[str], str]:
        """The usable addresses in an answer, and an error without any."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answers = await self._lookup(name)
        except TimeoutError:
            return frozenset(), f"no answer within {TIMEOUT_SECONDS:g} s"
        except OSError as error:
            return frozenset(), error.strerror or type(error).__name__
        usable = frozenset(filter(is_reachable, answers))
        return usable, "" if usable else "only addresses that pods cannot reach"

    def _resolution(self, host: _Host, recorded: tuple[str, ...]) -> Resolution:
        """At most MAX_ADDRESSES, those that DNS returns before those that are missing."""
        now = self._clock()
        missing_since = host.missing_since_with(recorded)
        # The limit must cut off addresses in their grace time before any that DNS returns now.
        ordered = sorted(missing_since, key=lambda a: (missing_since[a] is not None, a))
        addresses = sorted(ordered[:MAX_ADDRESSES])
        retiring = [
            address
            for address in addresses
            if (since := missing_since[address]) is not None and now - since >= RETIRING_SECONDS
        ]
        return Resolution(tuple(addresses), host.error, tuple(retiring))


async def system_lookup(name: str) -> list[str]:
    """Ask the system's resolver for IPv4 and IPv6 addresses; raises OSError.

    The final dot excludes the search domains: a CNAME, which is what pods get, uses none.
    """
    # Without a socket type, getaddrinfo returns each address once for every type.
    ask = partial(socket.getaddrinfo, name.rstrip(".") + ".", None, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(_threads, ask)
    return [str(address[0]) for *_, address in answers]
