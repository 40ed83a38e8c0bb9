"""Makes the cluster agree with one TokenplaceRelay, as often as it is called."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from tokenplace_operator.api.kinds import DEPLOYMENT, HTTP_ROUTE, RELAY, Key, Object, identity
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cache.optional_apis import Server
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.apply import Applier, ChildWriter, NameTakenError
from tokenplace_operator.children.plan import Plan, controlled, defer, plan, remaining
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.desired.build import build
from tokenplace_operator.kube.errors import Forbidden, Invalid, NotFound
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.certificates import Getter
from tokenplace_operator.observe.gpu_addresses import REFRESH_SECONDS
from tokenplace_operator.reconcile.events import EventWriter
from tokenplace_operator.reconcile.observer import Lister, Observer
from tokenplace_operator.reconcile.rejection_backoff import RejectionBackoff
from tokenplace_operator.reconcile.status_writer import StatusApi, StatusWriter
from tokenplace_operator.status.compute import compute_status, invalid_status
from tokenplace_operator.status.observed import Observed
from tokenplace_operator.status.rollback import active_rollback, due_rollback, with_rollback
from tokenplace_operator.status.rollout import is_settled

REPORT_SECONDS = 1.0
"""Children that were just made are reported at their first event, and no later than this."""
POLL_SECONDS = 5.0
"""Pods are not watched; while a rollout goes on their state is read this often."""


class Api(Getter, Lister, Server, ChildWriter, StatusApi, EventWriter, Protocol):
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
    status_writer: StatusWriter
    backoff: WriteBackoff
    rejections: RejectionBackoff
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> Result:
        """Bring children and status of one relay up to date; raises KubeError to be retried."""
        obj = self.store.get(RELAY, key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            self.rejections.reset(key)
            return Result()  # The garbage collector takes the children.
        try:
            relay = parse(obj)
        except SpecError as error:
            return Result(await self.status_writer.status(obj, self._of_invalid(obj, error)))
        relay = self._as_scaled(relay)
        previous = obj.get("status", {})
        facts, gpu_error = await self.observer.facts(relay, previous)
        rollback = active_rollback(relay, previous)
        wanted = build(with_rollback(relay, rollback), facts)
        todo, refusal = await self._make(obj, relay, wanted)
        if todo.creates_everything and not (refusal or relay.paused):
            return Result(REPORT_SECONDS)
        pods = await self.observer.pods(relay, previous)
        seen = Observed(
            plan=todo if relay.paused else remaining(todo, self.store, rejected=bool(refusal)),
            deployment=self.store.get(DEPLOYMENT, key),
            now=self.now(),
            pods=pods,
            facts=facts,
            route=self.store.get(HTTP_ROUTE, key),
            gpu_error=gpu_error,
            rejection=refusal,
            upstream=self.observer.upstream(relay, pods),
            certificate=await self.observer.certificate(relay),
            reverts=self.backoff.active(controlled(todo)),
            rollback=rollback,
            previous=previous,
        )
        beginning = due_rollback(relay, seen) if rollback is None else None
        if beginning is not None:
            seen = replace(seen, rollback=beginning)
        held = await self.status_writer.status(obj, compute_status(relay, seen))
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
        except NameTakenError:
            todo = await self._plan(relay, wanted, look=True)
            return todo, await self._execute(obj, todo)

    async def _plan(self, relay: Relay, wanted: list[Object], *, look: bool) -> Plan:
        found = await asyncio.gather(*(self._live(obj, look=look) for obj in wanted))
        pairs = zip(wanted, found, strict=True)
        live = {identity(obj): one for obj, one in pairs if one is not None}
        todo = plan(wanted, live, self.store.children(relay.uid), relay.uid)
        return todo if relay.paused else defer(todo, self.backoff)

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
        report = partial(self.status_writer.conflict, obj)
        try:
            applier = Applier(self.kube, self.store, self.metrics, self.backoff, report)
            await applier.execute(todo)
        except (Invalid, Forbidden) as refusal:  # Quota and admission refuse with 403.
            return refusal.message
        except NotFound:
            await self.observer.discovery.refresh()  # Perhaps a kind went with its CRD.
            raise
        return ""

    def _as_scaled(self, relay: Relay) -> Relay:
        """The relay with the number of pods that its autoscaler has set."""
        live = self.store.get(DEPLOYMENT, relay.child_key(DEPLOYMENT))
        if live is None or not relay.is_autoscaled:
            return relay
        return replace(relay, replicas=max(1, live["spec"].get("replicas", 1)))

    def _next_look(
        self, relay: Relay, seen: Observed, held: float | None, *, begins: bool
    ) -> float | None:
        """Seconds until something unwatched may have changed; None when nothing can.

        held: until a status that somebody undoes may be written.
        """
        key = relay.key
        # Only once it is on record: an older CRD may have dropped it.
        stored = self.store.get(RELAY, key) or {}
        if begins and "rollback" in stored.get("status", {}):
            return 0.0
        unsettled = not is_settled(seen.deployment, relay.replicas)
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
            *((one.seconds, True) for one in seen.reverts),
            (seen.certificate.seconds if seen.certificate else 0.0, seen.certificate is not None),
        )
        return min((seconds for seconds, wanted in wishes if wanted), default=None)

    def _retry_seconds(self, key: Key, seen: Observed) -> float | None:
        if seen.rejection or seen.plan.blocked:
            return self.rejections.delay(key)
        self.rejections.reset(key)
        return None

    def _of_invalid(self, obj: Object, error: SpecError) -> Object:
        generation = obj["metadata"].get("generation", 0)
        return invalid_status(generation, error.problems, obj.get("status", {}), self.now())
