"""Makes the cluster agree with one TokenplaceRelay, as often as it is called."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from tokenplace_operator import desired
from tokenplace_operator import status as statuses
from tokenplace_operator.api import GpuMode, Relay, SpecError, parse
from tokenplace_operator.api.kinds import DEPLOYMENT, HTTP_ROUTE, RELAY, Key, Object
from tokenplace_operator.cache.optional_apis import Server
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.apply import (
    Applier,
    Plan,
    TakenError,
    Writer,
    contestable,
    hold,
    identity,
    left,
    plan,
)
from tokenplace_operator.children.write_backoff import Contests
from tokenplace_operator.kube.errors import Forbidden, Invalid, NotFound
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.certificates import Getter
from tokenplace_operator.observe.gpu_addresses import REFRESH_SECONDS
from tokenplace_operator.reconcile.events import EventWriter
from tokenplace_operator.reconcile.observer import Observer, Reader
from tokenplace_operator.reconcile.rejection_backoff import Retries
from tokenplace_operator.reconcile.status_writer import Reporter, StatusWriter

REPORT_SECONDS = 1.0
"""Children that were just made are reported at their first event, and no later than this."""
POLL_SECONDS = 5.0
"""Pods are not watched; while a rollout goes on their state is read this often."""


class Api(Getter, Reader, Server, Writer, StatusWriter, EventWriter, Protocol):
    """The calls of `Kube` that a reconcile makes."""


@dataclass(frozen=True, slots=True)
class Result:
    """requeue_after: seconds until the next reconcile is wanted without any event."""

    requeue_after: float | None = None


@dataclass(slots=True)
class Reconciler:
    """Holds what a reconcile works with; one per process."""

    kube: Api
    store: Store
    metrics: Metrics
    observer: Observer
    reporter: Reporter
    contests: Contests
    retries: Retries
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> Result:
        """Bring children and status of one relay up to date; raises KubeError to be retried."""
        obj = self.store.get(RELAY, key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self.retries.forget(key)
            return Result()  # The garbage collector takes the children.
        try:
            relay = parse(obj)
        except SpecError as error:
            return Result(await self.reporter.status(obj, self._of_invalid(obj, error)))
        relay = self._as_scaled(relay)
        previous = obj.get("status", {})
        facts, gpu_error = await self.observer.facts(relay, previous)
        rollback = statuses.standing(relay, previous)
        wanted = desired.build(statuses.apply_to(relay, rollback), facts)
        todo, refusal = await self._make(obj, relay, wanted)
        if todo.makes_all and not (refusal or relay.paused):
            return Result(REPORT_SECONDS)
        pods = await self.observer.pods(relay, previous)
        seen = statuses.Observed(
            plan=todo if relay.paused else left(todo, self.store, refused=bool(refusal)),
            deployment=self.store.get(DEPLOYMENT, key),
            now=self.now(),
            pods=pods,
            facts=facts,
            route=self.store.get(HTTP_ROUTE, key),
            gpu_error=gpu_error,
            refusal=refusal,
            upstream=self.observer.upstream(relay, pods),
            certificate=await self.observer.certificate(relay),
            contested=self.contests.standing(contestable(todo)),
            rollback=rollback,
            previous=previous,
        )
        beginning = statuses.due(relay, seen) if rollback is None else None
        if beginning is not None:
            seen = replace(seen, rollback=beginning)
        held = await self.reporter.status(obj, statuses.compute(relay, seen))
        return Result(self._next_look(relay, seen, held, begins=beginning is not None))

    async def _make(self, obj: Object, relay: Relay, wanted: list[Object]) -> tuple[Plan, str]:
        """Plan and write; return also what the API server said against it, if it did.

        Names of a relay without conditions are taken to be free, and whether they are is looked
        at when the server says that one is not.
        """
        if relay.paused:
            return await self._plan(relay, wanted, look=True), ""
        todo = await self._plan(relay, wanted, look="conditions" in obj.get("status", {}))
        try:
            return todo, await self._execute(obj, todo)
        except TakenError:
            todo = await self._plan(relay, wanted, look=True)
            return todo, await self._execute(obj, todo)

    async def _plan(self, relay: Relay, wanted: list[Object], *, look: bool) -> Plan:
        found = await asyncio.gather(*(self._live(obj, look=look) for obj in wanted))
        pairs = zip(wanted, found, strict=True)
        live = {identity(obj): one for obj, one in pairs if one is not None}
        todo = plan(wanted, live, self.store.children(relay.uid), relay.uid)
        return todo if relay.paused else hold(todo, self.contests)

    async def _live(self, obj: Object, *, look: bool) -> Object | None:
        """What has the name of a child; look: also what is not labelled, and so not watched."""
        kind, key = identity(obj)
        known = self.store.get(kind, key)
        if known is not None or not look:
            return known
        try:
            return await self.kube.get(kind, *key)
        except NotFound:
            return None

    async def _execute(self, obj: Object, todo: Plan) -> str:
        report = partial(self.reporter.conflict, obj)
        try:
            applier = Applier(self.kube, self.store, self.metrics, self.contests, report)
            await applier.execute(todo)
        except (Invalid, Forbidden) as refusal:  # Quota and admission refuse with 403.
            return refusal.message
        except NotFound:
            await self.observer.discovery.look()  # Perhaps a kind went with its CRD.
            raise
        return ""

    def _as_scaled(self, relay: Relay) -> Relay:
        """The relay with the number of pods that its autoscaler has set."""
        live = self.store.get(DEPLOYMENT, (relay.namespace, relay.name))
        if live is None or not relay.is_autoscaled:
            return relay
        return replace(relay, replicas=max(1, live["spec"].get("replicas", 1)))

    def _next_look(
        self, relay: Relay, seen: statuses.Observed, held: float | None, *, begins: bool
    ) -> float | None:
        """Seconds until something unwatched may have changed; None when nothing can.

        held: until a status that somebody undoes may be written.
        """
        key = relay.namespace, relay.name
        # Only once it is on record: an older CRD may have dropped it.
        stored = self.store.get(RELAY, key) or {}
        if begins and "rollback" in stored.get("status", {}):
            return 0.0
        unsettled = not statuses.is_settled(seen.deployment, relay.replicas)
        rolling = unsettled and seen.deployment is not None
        retry = self._retry_seconds(key, seen)
        # The first pod is an event; until then nothing but the deadline can pass.
        rollout = POLL_SECONDS if seen.pods else float(relay.rollback.deadline_seconds)
        wishes = (
            (rollout, rolling),
            (POLL_SECONDS, self.observer.upstreams.is_asking(key)),
            (self.observer.upstreams.wait(key), bool(seen.upstream and not seen.upstream.settled)),
            (retry or 0.0, retry is not None),
            (held or 0.0, held is not None),
            (REFRESH_SECONDS, relay.gpu.mode is not GpuMode.NONE),
            *((one.seconds, True) for one in seen.contested),
            (seen.certificate.seconds if seen.certificate else 0.0, seen.certificate is not None),
        )
        return min((seconds for seconds, wanted in wishes if wanted), default=None)

    def _retry_seconds(self, key: Key, seen: statuses.Observed) -> float | None:
        if seen.refusal or seen.plan.blocked:
            return self.retries.seconds(key)
        self.retries.forget(key)
        return None

    def _of_invalid(self, obj: Object, error: SpecError) -> Object:
        generation = obj["metadata"].get("generation", 0)
        return statuses.of_invalid(generation, error.problems, obj.get("status", {}), self.now())
