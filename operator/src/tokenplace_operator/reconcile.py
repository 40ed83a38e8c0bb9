"""Makes the cluster agree with one TokenplaceRelay, as often as it is called."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tokenplace_operator import desired
from tokenplace_operator import status as statuses
from tokenplace_operator.api import GpuMode, Relay, SpecError, parse
from tokenplace_operator.apply import Applier, Plan, Taken, Writer, identity, plan
from tokenplace_operator.conditions import Reason, Type
from tokenplace_operator.events import EventWriter, Recorder
from tokenplace_operator.facts import Facts
from tokenplace_operator.gpu_target import REFRESH_SECONDS, Resolution, Resolver
from tokenplace_operator.kinds import DEPLOYMENT, POD, RELAY, Key, Kind, Object
from tokenplace_operator.kube import Forbidden, Invalid, NotFound
from tokenplace_operator.metrics import Metrics
from tokenplace_operator.store import Store

POD_POLL_SECONDS = 5.0
"""Pods are not watched; while a rollout goes on their state is read this often."""


class Api(Writer, EventWriter, Protocol):
    """The calls of `Kube` that a reconcile makes."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        ...

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        """Read all objects of a kind."""
        ...

    async def apply_status(self, obj: Object) -> Object:
        """Server-side apply of the status."""
        ...


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
    recorder: Recorder
    resolver: Resolver
    now: Callable[[], datetime]

    async def reconcile(self, key: Key) -> Result:
        """Bring children and status of one relay up to date; raises KubeError to be retried."""
        obj = self.store.get(RELAY, key)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return Result()  # The garbage collector takes the children.
        try:
            relay = parse(obj)
        except SpecError as error:
            await self._report_invalid(obj, error)
            return Result()
        resolution = await self._resolve(relay, obj)
        facts = Facts(gpu_addresses=resolution.addresses)
        todo = await self._plan(relay, facts)
        refusal = "" if relay.paused else await self._execute(obj, todo)
        pods = await self._pods(relay, obj)
        seen = statuses.Observed(
            plan=todo,
            deployment=self.store.get(DEPLOYMENT, key),
            pods=pods,
            facts=facts,
            gpu_error=resolution.error,
            refusal=refusal,
            previous=obj.get("status", {}),
        )
        await self._write_status(obj, statuses.compute(relay, seen, self.now()))
        return Result(self._next_look(relay, seen))

    async def _resolve(self, relay: Relay, obj: Object) -> Resolution:
        if relay.gpu.mode is not GpuMode.EXTERNAL_NAME:
            return Resolution(())
        before = obj.get("status", {}).get("gpu", {}).get("addresses", [])
        return await self.resolver.resolve(relay.gpu.host, tuple(before))

    async def _plan(self, relay: Relay, facts: Facts) -> Plan:
        wanted = desired.build(relay, facts)
        live = {}
        for obj in wanted:
            found = await self._live(obj)
            if found is not None:
                live[identity(obj)] = found
        return plan(wanted, live, self.store.children(relay.uid), relay.uid)

    async def _live(self, obj: Object) -> Object | None:
        """What has the name of a child. Only labelled objects are watched: strangers are asked."""
        kind, key = identity(obj)
        known = self.store.get(kind, key)
        if known is not None:
            return known
        try:
            return await self.kube.get(kind, *key)
        except NotFound:
            return None

    async def _execute(self, obj: Object, todo: Plan) -> str:
        """Write what the plan says; return what the API server said against it, if it did."""
        applier = Applier(self.kube, self.store, self.metrics)
        try:
            taken = await applier.execute(todo)
        except Invalid as refusal:
            return refusal.message
        except Forbidden as refusal:
            # Quota and admission refuse with 403 as well; either may be lifted without an event.
            return refusal.message
        for one in taken:
            await self._report_conflict(obj, one)
        return ""

    async def _pods(self, relay: Relay, obj: Object) -> tuple[Object, ...]:
        """The relay's pods, read only while they have something to tell."""
        image = obj.get("status", {}).get("image", {})
        known = image.get("running") and image.get("desired") == relay.image.reference
        deployment = self.store.get(DEPLOYMENT, (relay.namespace, relay.name))
        if deployment is None or (known and statuses.is_settled(deployment, relay.replicas)):
            return ()
        pods, _ = await self.kube.list(POD, relay.namespace, relay.selector_text)
        return tuple(pods)

    def _next_look(self, relay: Relay, seen: statuses.Observed) -> float | None:
        if seen.refusal:
            return 30.0
        if seen.deployment is not None and not statuses.is_settled(seen.deployment, relay.replicas):
            return POD_POLL_SECONDS
        if relay.gpu.mode is GpuMode.EXTERNAL_NAME:
            return REFRESH_SECONDS
        return None

    async def _write_status(self, obj: Object, status: Object) -> None:
        before = obj.get("status", {})
        if status == before:
            return
        metadata = {name: obj["metadata"][name] for name in ("name", "namespace")}
        update = {
            "apiVersion": RELAY.api_version,
            "kind": RELAY.kind,
            "metadata": metadata,
            "status": status,
        }
        self.store.put(await self.kube.apply_status(update))
        await self._report_transition(obj, before, status)

    async def _report_transition(self, obj: Object, before: Object, status: Object) -> None:
        """One Event when Ready gets another reason: what `kubectl describe` should show."""
        ready = _ready(status)
        if ready == _ready(before) or ready is None:
            return
        found = next(one for one in status["conditions"] if one["type"] == Type.READY)
        troubled = found["status"] != "True" and found["reason"] not in _ORDINARY
        await self.recorder.record(obj, Reason(found["reason"]), found["message"], warning=troubled)

    async def _report_invalid(self, obj: Object, error: SpecError) -> None:
        generation = obj["metadata"].get("generation", 0)
        before = obj.get("status", {})
        status = statuses.of_invalid(generation, error.problems, before, self.now())
        await self._write_status(obj, status)

    async def _report_conflict(self, obj: Object, taken: Taken) -> None:
        fields = ", ".join(f"{one.field} of {one.manager}" for one in taken.conflicts)
        name = f"{taken.child['kind']} {taken.child['metadata']['name']}"
        text = f"{name}: took back {fields}. Change the TokenplaceRelay instead."
        await self.recorder.record(obj, Reason.FIELD_CONFLICT, text, warning=True)


_ORDINARY = {Reason.ROLLOUT_PENDING, Reason.DEPLOYMENT_MISSING, Reason.PAUSED}


def _ready(status: Object) -> tuple[str, str] | None:
    for one in status.get("conditions", []):
        if one["type"] == Type.READY:
            return one["status"], one["reason"]
    return None
