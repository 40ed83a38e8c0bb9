"""The addresses behind gpu.host: asked of DNS once a minute, kept through its failures.

An address that DNS no longer names stays open for a grace time, since pods and their connections
may still use it. The time counts from the first answer without it: while DNS fails, nothing closes.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from tokenplace_operator.api.addresses import is_reachable
from tokenplace_operator.metrics import Metrics

REFRESH_SECONDS = 60.0
GRACE_SECONDS = 600.0
RETIRING_SECONDS = 300.0
"""Missing for this long, an address is said to retire. Names that rotate through more addresses
than fit into one answer would otherwise change the status each minute."""
TIMEOUT_SECONDS = 5.0
MAX_ADDRESSES = 128
MAX_HOSTS = 4096
MAX_LOOKUPS = 32
"""Lookups of the system at a time. Its resolver needs a thread for each, and one that waits for a
dead server keeps it beyond our timeout."""

_threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="dns")

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
    """What DNS has told this process, and when it did so first and last.

    missing_since: for each open address, when DNS first left it out; None while it is named.
    """

    missing_since: dict[str, float | None] = field(default_factory=dict)
    asked: float = float("-inf")
    answered_first: float | None = None
    answered_last: float | None = None
    error: str = ""
    asking: asyncio.Task[None] | None = None

    def known_with(self, last_known: tuple[str, ...]) -> dict[str, float | None]:
        """As missing_since, with what a caller knew before: named until the first answer.

        Once answers cover a grace time, nothing older is open. What one caller knew is for that
        one only: it may have come from another host that it had before.
        """
        first, last = self.answered_first, self.answered_last
        if first is not None and last is not None and last - first >= GRACE_SECONDS:
            return self.missing_since
        return {**dict.fromkeys(last_known, first), **self.missing_since}


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
        """The host's addresses, sorted; last_known are those that this caller had before.

        Who comes while DNS is asked waits for the same answer.
        """
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= MAX_HOSTS:
                self._known.clear()
            known = self._known[host] = _Host()
        if known.asking is None and self._clock() - known.asked >= REFRESH_SECONDS:
            known.asking = asyncio.create_task(self._refresh(host, known), name="dns")
        if known.asking is not None:
            await asyncio.shield(known.asking)  # One caller that is cancelled is not all.
        return self._resolution(known, last_known)

    async def _refresh(self, host: str, known: _Host) -> None:
        known.asked = self._clock()
        try:
            named, known.error = await self._ask(host)
        finally:
            known.asking = None
        self._metrics.gpu_lookups.labels("failed" if known.error else "answered").inc()
        if not known.error:
            self._learn(known, named)

    def _learn(self, known: _Host, named: frozenset[str]) -> None:
        now = known.answered_last = self._clock()
        if known.answered_first is None:
            known.answered_first = now
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
        usable = frozenset(answer for answer in answers if is_reachable(answer))
        return usable, "" if usable else "only addresses that pods cannot reach"

    def _resolution(self, known: _Host, last_known: tuple[str, ...]) -> Resolution:
        """At most MAX_ADDRESSES, and those that DNS names before those that it does not."""
        now = self._clock()
        missing_since = known.known_with(last_known)
        ordered = sorted(missing_since, key=lambda a: (missing_since[a] is not None, a))
        open_now = sorted(ordered[:MAX_ADDRESSES])
        retiring = [
            address
            for address in open_now
            if (since := missing_since[address]) is not None and now - since >= RETIRING_SECONDS
        ]
        return Resolution(tuple(open_now), known.error, tuple(retiring))


async def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver for IPv4 and IPv6 addresses.

    The final dot keeps the search domains out: pods get the name as a CNAME, which has none.
    """
    ask = partial(socket.getaddrinfo, host.rstrip(".") + ".", None, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_threads, ask)
    return [str(address[0]) for *_, address in found]
