"""Makes the cluster agree with one TokenplaceRelay.

`reconcile` is idempotent: it compares desired and live state, whatever event caused it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from tokenplace_operator.api.kinds import DEPLOYMENT, HTTP_ROUTE, RELAY, Key, Object, identity
from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cache.optional_apis import ApiLister
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.apply import Applier, ChildWriter, NameTakenError
from tokenplace_operator.children.plan import (
    Plan,
    controlled,
    defer,
    is_being_deleted,
    plan,
    remaining,
)
from tokenplace_operator.children.write_backoff import WriteBackoff
from tokenplace_operator.desired.build import build
from tokenplace_operator.kube.errors import Forbidden, Invalid, NotFound
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.observe.certificates import Getter
from tokenplace_operator.observe.facts import Facts
from tokenplace_operator.reconcile.events import EventWriter
from tokenplace_operator.reconcile.observer import Observer
from tokenplace_operator.reconcile.rejection_backoff import RejectionBackoff
from tokenplace_operator.reconcile.requeue import Requeue
from tokenplace_operator.reconcile.result import Result
from tokenplace_operator.reconcile.status_writer import StatusApi, StatusWriter
from tokenplace_operator.status.compute import compute_status, invalid_status
from tokenplace_operator.status.observed import Observed
from tokenplace_operator.status.rollback import active_rollback, due_rollback, with_rollback

FIRST_STATUS_SECONDS = 1.0
"""New children are reported at their first event, and no later than this."""


class KubeApi(Getter, ApiLister, ChildWriter, StatusApi, EventWriter, Protocol):
    """The calls of `Kube` that a reconcile makes."""


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that was executed.

    rejection: the message of the API server that ended the execution, or empty.
    """

    plan: Plan
    rejection: str = ""

    @property
    def is_first_apply(self) -> bool:
        """Whether all children were just created, so that no state is known to report yet."""
        return self.plan.creates_everything and not self.rejection


@dataclass(slots=True)
class Reconciler:
    """The parts that a reconcile works with; one per process."""

    kube: KubeApi
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
        if obj is None or is_being_deleted(obj):
            self.rejections.reset(key)
            return Result()  # The garbage collector deletes the children.
        try:
            # Builders and conditions need the autoscaler's number, which the spec does not have.
            relay = self._with_live_replicas(parse(obj))
        except SpecError as error:
            return await self._report_invalid(obj, error)

        previous = obj.get("status", {})
        facts, gpu_error = await self.observer.facts(relay, previous)
        rollback = active_rollback(relay, previous)
        children = build(with_rollback(relay, rollback), facts)

        applied = await self._apply(obj, relay, children)
        # Many new relays at once: a status that has nothing to report yet would only delay the
        # children of the next relay.
        if applied.is_first_apply and not relay.paused:
            return Result(FIRST_STATUS_SECONDS)

        observed = replace(
            await self._observe(relay, previous, applied, facts),
            gpu_error=gpu_error,
            rollback=rollback,
        )
        new_rollback = due_rollback(relay, observed) if rollback is None else None
        if new_rollback is not None:
            observed = replace(observed, rollback=new_rollback)

        status_delay = await self.status_writer.write(obj, compute_status(relay, observed))

        # First the status, then the Deployment: after a crash in between, the next process still
        # knows that this rollout must be rolled back.
        if new_rollback is not None and self._has_recorded_rollback(key):
            return Result(0.0)
        requeue = Requeue(self.observer.upstreams, self.rejections)
        return Result(requeue.after(relay, observed, status_delay))

    async def _report_invalid(self, obj: Object, error: SpecError) -> Result:
        """Set the status of a relay whose spec cannot be parsed; its children stay as they are."""
        generation = obj["metadata"].get("generation", 0)
        status = invalid_status(generation, error.problems, obj.get("status", {}), self.now())
        return Result(await self.status_writer.write(obj, status))

    async def _apply(self, obj: Object, relay: Relay, children: list[Object]) -> Applied:
        """Plan the writes and execute them, unless the relay is paused.

        Objects without our label are not watched, so their names need a read. For a new relay
        that read is saved: names are taken to be free until the API server rejects one.
        """
        if relay.paused:
            return Applied(await self._plan(relay, children, read_unwatched=True))
        has_status = "conditions" in obj.get("status", {})
        todo = await self._plan(relay, children, read_unwatched=has_status)
        try:
            return Applied(todo, await self._execute(obj, todo))
        # Planned again with reads, so that the status names the owner of that object.
        except NameTakenError:
            todo = await self._plan(relay, children, read_unwatched=True)
            return Applied(todo, await self._execute(obj, todo))

    async def _plan(self, relay: Relay, children: list[Object], *, read_unwatched: bool) -> Plan:
        present = await asyncio.gather(
            *(self._live(child, read_unwatched=read_unwatched) for child in children)
        )
        pairs = zip(children, present, strict=True)
        live = {identity(child): obj for child, obj in pairs if obj is not None}
        todo = plan(children, live, self.store.children(relay.uid), relay.uid)
        return todo if relay.paused else defer(todo, self.backoff.is_backing_off)

    async def _live(self, child: Object, *, read_unwatched: bool) -> Object | None:
        """The live object with the name of a child, whatever its owner."""
        kind, key = identity(child)
        live = self.store.get(kind, key)
        if live is not None or not read_unwatched:
            return live
        try:
            return await self.kube.get(kind, *key)
        except NotFound:
            return None

    async def _execute(self, obj: Object, todo: Plan) -> str:
        """Carry out a plan; return the message of a rejection, or empty."""
        on_conflict = partial(self.status_writer.report_conflict, obj)
        applier = Applier(self.kube, self.store, self.metrics, self.backoff, on_conflict)
        try:
            await applier.execute(todo)
        except (Invalid, Forbidden) as rejection:  # Quota and admission answer 403.
            return rejection.message
        except NotFound:
            # The CRD of an optional child may just have been deleted.
            await self.observer.optional_apis.refresh()
            # Retried: the next build has no child of the kinds that are gone.
            raise
        return ""

    async def _observe(
        self, relay: Relay, previous: Object, applied: Applied, facts: Facts
    ) -> Observed:
        pods = await self.observer.pods(relay, previous)
        todo, rejected = applied.plan, bool(applied.rejection)
        return Observed(
            # A paused relay has no executed plan, so all of its plan is left.
            plan=todo if relay.paused else remaining(todo, self.store.get, rejected=rejected),
            deployment=self.store.get(DEPLOYMENT, relay.child_key(DEPLOYMENT)),
            now=self.now(),
            pods=pods,
            facts=facts,
            route=self.store.get(HTTP_ROUTE, relay.child_key(HTTP_ROUTE)),
            rejection=applied.rejection,
            upstream=self.observer.upstream(relay, pods),
            certificate=await self.observer.certificate(relay),
            reverts=self.backoff.active(controlled(todo)),
            previous=previous,
        )

    def _with_live_replicas(self, relay: Relay) -> Relay:
        """The relay with the number of pods that its autoscaler has set."""
        live = self.store.get(DEPLOYMENT, relay.child_key(DEPLOYMENT))
        if live is None or not relay.is_autoscaled:
            return relay
        # At least 1: with 0 the relay would not count as autoscaled, and the builders would apply
        # 0 pods again after the user has started it.
        return replace(relay, replicas=max(1, live["spec"].get("replicas", 1)))

    def _has_recorded_rollback(self, key: Key) -> bool:
        """Whether the stored status has the rollback: an older CRD drops that field."""
        stored = self.store.get(RELAY, key) or {}
        return "rollback" in stored.get("status", {})
