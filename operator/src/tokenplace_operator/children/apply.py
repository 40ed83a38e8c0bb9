"""Carries out a plan: server-side apply of desired children, deletion of undesired ones."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from tokenplace_operator.api.kinds import DEPLOYMENT, OPTIONAL_CHILD_KINDS, Kind, Object, identity
from tokenplace_operator.cache.store import Store
from tokenplace_operator.children.plan import Plan, applied_hash_of
from tokenplace_operator.children.write_backoff import WriteBackoff, describe_revert
from tokenplace_operator.kube.errors import Conflict, FieldConflict, Invalid, KubeError
from tokenplace_operator.metrics import Metrics


class ChildWriter(Protocol):
    """The calls of `Kube` that write children."""

    async def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply."""
        ...

    async def apply_new(self, obj: Object) -> Object:
        """Server-side apply of an object that must not exist yet."""
        ...

    async def hand_over(self, obj: Object) -> Object:
        """Server-side apply under the operator's second field manager."""
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object with this uid."""
        ...


class NameTakenError(Conflict):
    """A child was to be created, but an object that the operator does not know has its name."""


OnConflict = Callable[[Object, tuple[FieldConflict, ...]], Awaitable[None]]
"""Called with a child and the fields that other managers own, before they are taken back."""


class Applier:
    """Executes plans.

    Builders leave out fields that others may own, such as the replicas that an autoscaler sets.
    So every field that they write is ours: a conflict is reported and then resolved by force.
    """

    def __init__(
        self,
        kube: ChildWriter,
        store: Store,
        metrics: Metrics,
        backoff: WriteBackoff,
        on_conflict: OnConflict,
    ) -> None:
        self._kube = kube
        self._store = store
        self._metrics = metrics
        self._backoff = backoff
        self._on_conflict = on_conflict

    async def execute(self, todo: Plan) -> None:
        """Apply in order, then prune; raises KubeError at the first write that fails."""
        self._count(todo)
        new = {identity(obj) for obj in todo.new}
        for obj in todo.apply:
            await self._apply(obj, is_new=identity(obj) in new)
        # Last: a failed apply ends the plan before anything is deleted.
        for obj in todo.prune:
            await self._prune(obj)

    def _count(self, todo: Plan) -> None:
        for obj in todo.skip:
            self._metrics.applies.labels(obj["kind"], "skipped").inc()
        for obj in todo.drifted:
            self._metrics.drift.labels(obj["kind"]).inc()

    async def _apply(self, obj: Object, *, is_new: bool) -> None:
        try:
            await (self._create(obj) if is_new else self._update(obj))
        except NameTakenError:
            raise
        except KubeError:
            self._metrics.applies.labels(obj["kind"], "error").inc()
            raise

    async def _create(self, obj: Object) -> None:
        try:
            live = await self._kube.apply_new(obj)
        except Conflict as conflict:
            raise NameTakenError(conflict.code, conflict.reason, conflict.message) from None
        self._record(obj, live, describe_revert(obj, None))

    async def _update(self, obj: Object) -> None:
        before = self._store.get(*identity(obj))
        # Before the apply, because the apply makes the API server remove the field.
        await self._hand_over_replicas(obj)
        try:
            live, conflicts = await self._apply_forced_on_conflict(obj)
        except Invalid as invalid:
            # Read again: an event may have brought another object during the requests above.
            live_now = self._store.get(*identity(obj))
            if not invalid.is_immutable or live_now is None:
                raise
            await self._delete_for_replacement(live_now)
            return
        self._record(obj, live, describe_revert(obj, before, conflicts))

    def _record(self, obj: Object, live: Object, how: str) -> None:
        self._metrics.applies.labels(obj["kind"], "applied").inc()
        # A reconcile that starts before the watch event must see this write, or it writes again.
        self._store.put(live)
        self._backoff.record(identity(obj), applied_hash_of(obj), how)

    async def _apply_forced_on_conflict(
        self, obj: Object
    ) -> tuple[Object, tuple[FieldConflict, ...]]:
        """The live object and the conflicts that were resolved by force.

        Unforced first, since only then the server names the owner of each field.
        """
        try:
            return await self._kube.apply(obj), ()
        except Conflict as conflict:
            # Without fields it is another conflict, which force cannot resolve.
            if not conflict.causes:
                raise
            self._metrics.applies.labels(obj["kind"], "conflict").inc()
            # Reported before the write: after it, a restarted process could not see the conflict.
            await self._on_conflict(obj, conflict.causes)
            conflicts = conflict.causes
        return await self._kube.apply(obj, force=True), conflicts

    async def _hand_over_replicas(self, obj: Object) -> None:
        """Keep the live replicas of a Deployment whose autoscaler will own that field.

        The API server removes a field that its only owner stops applying, and the default is 1
        pod. So a second field manager of ours owns it until the autoscaler writes it.
        """
        kind, (namespace, name) = identity(obj)
        live = self._store.get(kind, (namespace, name))
        if kind != DEPLOYMENT or live is None or "replicas" in obj["spec"]:
            return
        replicas = live["spec"].get("replicas", 1)
        # The API server's default is 1 as well, so there is nothing to keep.
        if replicas <= 1:
            return
        kept = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"replicas": replicas},
        }
        # A conflict means that the autoscaler owns the field already, with a newer number.
        with contextlib.suppress(Conflict):
            await self._kube.hand_over(kept)

    async def _delete_for_replacement(self, live: Object) -> None:
        """Delete a child with an immutable field to change; its DELETED event creates it again."""
        kind, key = identity(live)
        await self._kube.delete(kind, *key, uid=live["metadata"]["uid"])

    async def _prune(self, obj: Object) -> None:
        kind, key = identity(obj)
        # By uid: another object may have got this name since the event that we saw.
        await self._kube.delete(kind, *key, uid=obj["metadata"]["uid"])
        self._metrics.pruned.labels(kind.kind).inc()
        if kind in OPTIONAL_CHILD_KINDS:
            self._store.forget(kind, key)  # Not watched, so its end is no event.
