"""Leader election with one Lease.

A Lease expires when it has not changed for its duration by our own monotonic clock. The times in
it are never compared with ours, because the clocks of two machines may differ. Each request has a
short timeout, so that a hung one cannot outlive the deadline at which the leader must stop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Protocol

from tokenplace_operator.api.kinds import LEASE, Kind, Object, version_of
from tokenplace_operator.kube.errors import Conflict, KubeError, NotFound
from tokenplace_operator.logs import get_logger
from tokenplace_operator.metrics import Metrics

log = get_logger(__name__)


class LeaseLostError(Exception):
    """Another process leads, or the Lease was not renewed in time: stop writing at once."""


class LeaseApi(Protocol):
    """The calls of `Kube` that the elector makes."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        ...

    async def create(self, obj: Object) -> Object:
        """Create, or Conflict."""
        ...

    async def replace(self, obj: Object) -> Object:
        """Replace, guarded by resourceVersion, or Conflict."""
        ...


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Times in seconds.

    lease: another process may lead when the Lease has not changed for this time.
    renew: a leader that could not renew for this time stops.
    retry: pause between attempts to acquire or renew. request: timeout of one request.
    """

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0
    request: float = 3.0

    @classmethod
    def of(cls, lease: float) -> "LeaseTimes":
        """Scale the proportions of the defaults to another lease duration."""
        return cls(lease, lease * 2 / 3, lease * 2 / 15, lease / 5)


class Elector:
    """Acquire, keep and release one Lease for one identity."""

    def __init__(
        self,
        api: LeaseApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
        metrics: Metrics,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times
        self._metrics = metrics
        self._clock = clock
        self._now = now
        self._sleep = sleep
        self._rng = rng or Random()  # noqa: S311 (spreads retries, guards nothing)
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed_at = 0.0

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while not await self._attempt():
            # Up to a fifth sooner, so that two standbys do not collide at each attempt.
            await self._sleep(self._times.retry * (1 - 0.2 * self._rng.random()))
        self._metrics.leader.set(1)
        self._metrics.leader_transitions.inc()
        log.info("leading", identity=self._identity)

    async def keep(self) -> None:
        """Renew until cancelled; raises LeaseLostError by the renew deadline at the latest."""
        try:
            while True:
                # Not beyond the deadline, so that a lost Lease is noticed in time.
                await self._sleep(min(self._times.retry, max(self._seconds_left(), 0.0)))
                await self._renew()
        finally:
            self._metrics.leader.set(0)

    def holds(self) -> bool:
        """Whether no other process can lead yet: the last renewal is younger than the deadline."""
        return self._seconds_left() > 0

    async def release(self) -> None:
        """Free the Lease for the next leader; errors are only logged, since it expires anyway."""
        if self._seen is None or _spec(self._seen).get("holderIdentity") != self._identity:
            return
        lease = self._lease(self._seen, holder="", seconds=1)
        try:
            self._see(await self._call(self._api.replace(lease)))
        except (KubeError, TimeoutError) as error:
            log.warning("lease not released", error=str(error))

    async def _attempt(self) -> bool:
        """Create or take over the Lease if it is free; False when it is not, or on an error."""
        started = self._clock()
        try:
            # An expired Lease needs no second read: its version guards the write, and if its holder
            # has renewed it meanwhile, the write ends in a conflict.
            if self._seen is None or not self._expired():
                self._see(await self._read())
            if not self._expired():
                return False
            lease = self._lease(self._seen, holder=self._identity, seconds=self._times.lease)
            write = self._api.replace if self._seen is not None else self._api.create
            self._see(await self._call(write(lease)))
        except Conflict:
            # Another process was faster. Its Lease is read at the next attempt.
            self._seen = None
            return False
        except (KubeError, TimeoutError) as error:
            log.warning("lease not acquired", error=str(error) or "no answer in time")
            return False
        # From the start of the request: another process may count from any moment after that.
        self._renewed_at = started
        return True

    async def _read(self) -> Object | None:
        try:
            return await self._call(self._api.get(LEASE, self._namespace, self._name))
        except NotFound:
            return None

    async def _renew(self) -> None:
        """Write a new renew time; a failure is fatal only at the deadline or to another holder."""
        started = self._clock()
        try:
            lease = self._lease(self._seen, holder=self._identity, seconds=self._times.lease)
            self._see(await self._call(self._api.replace(lease), self._seconds_left()))
        except Conflict:
            await self._reread()
        except (KubeError, TimeoutError) as error:
            log.warning("lease not renewed", error=str(error) or "no answer in time")
        else:
            self._renewed_at = started
        if self._seconds_left() <= 0:
            raise LeaseLostError(f"not renewed for {self._times.renew:g} s")

    async def _reread(self) -> None:
        """Decide whether a conflict comes from our own late write or from another leader."""
        try:
            lease = await self._call(
                self._api.get(LEASE, self._namespace, self._name), self._seconds_left()
            )
        except NotFound:
            # Another process may create it at any moment, and lead.
            raise LeaseLostError("the Lease was deleted") from None
        except (KubeError, TimeoutError) as error:
            log.warning("lease not read", error=str(error) or "no answer in time")
            return
        holder = _spec(lease).get("holderIdentity")
        if holder != self._identity:
            raise LeaseLostError(f"{holder!r} leads now")
        # Our own late write. The deadline is not extended: it is unknown when the server got it.
        self._see(lease)

    async def _call(self, call: Awaitable[Object], seconds_left: float | None = None) -> Object:
        seconds = (
            self._times.request if seconds_left is None else min(self._times.request, seconds_left)
        )
        async with asyncio.timeout(max(seconds, 0.0)):
            return await call

    def _seconds_left(self) -> float:
        return self._renewed_at + self._times.renew - self._clock()

    def _see(self, lease: Object | None) -> None:
        """Remember the Lease and when it last changed."""
        # Only a change restarts the time: a holder that died leaves the Lease as it is.
        if lease is None or self._seen is None or version_of(lease) != version_of(self._seen):
            self._seen_at = self._clock()
        self._seen = lease

    def _expired(self) -> bool:
        if self._seen is None:
            return True
        spec = _spec(self._seen)
        # A leader that stops in order leaves the Lease without a holder: no wait is needed.
        if not spec.get("holderIdentity"):
            return True
        seconds = float(spec.get("leaseDurationSeconds") or self._times.lease)
        return self._clock() - self._seen_at > seconds

    def _lease(self, current: Object | None, *, holder: str, seconds: float) -> Object:
        """The next Lease; the resourceVersion of the current one guards the write."""
        spec = dict(_spec(current)) if current is not None else {}
        # The API's MicroTime requires six digits after the second.
        now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if holder and spec.get("holderIdentity") != holder:
            transitions = int(spec.get("leaseTransitions") or 0)
            spec["leaseTransitions"] = transitions + (1 if current is not None else 0)
            spec["acquireTime"] = now
        spec["holderIdentity"] = holder
        # The API server rejects 0 and fractions.
        spec["leaseDurationSeconds"] = max(1, round(seconds))
        spec["renewTime"] = now
        metadata = {"namespace": self._namespace, "name": self._name}
        if current is not None:
            metadata = current["metadata"]
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": metadata,
            "spec": spec,
        }


def _spec(lease: Object) -> Object:
    spec: Object = lease.get("spec") or {}
    return spec
