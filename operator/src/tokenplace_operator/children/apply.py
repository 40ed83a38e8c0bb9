"""From desired and live children to writes: skip, apply or prune; strangers are left alone."""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tokenplace_operator.api.kinds import (
    DEPLOYMENT,
    OPTIONAL_CHILD_KINDS,
    Key,
    Kind,
    Object,
    key_of,
    of,
)
from tokenplace_operator.cache.store import Store, controller_of
from tokenplace_operator.children.drift import is_subset
from tokenplace_operator.children.write_backoff import Contests, undone
from tokenplace_operator.desired.metadata import APPLIED_HASH
from tokenplace_operator.kube.errors import Conflict, FieldConflict, Invalid, KubeError
from tokenplace_operator.metrics import Metrics

Live = Mapping[tuple[Kind, Key], Object]


class Writer(Protocol):
    """The calls of `Kube` that writing children needs."""

    async def apply(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply."""
        ...

    async def apply_new(self, obj: Object) -> Object:
        """Server-side apply of what must not exist yet."""
        ...

    async def hand_over(self, obj: Object) -> Object:
        """Server-side apply under another name of ours."""
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object with this uid."""
        ...


class TakenError(Conflict):
    """A child was to be made, and an object that is not known has its name."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A name that a child needs and somebody else has; `by` says who."""

    kind: str
    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reconcile will do. Every desired child is in exactly one of the first five."""

    skip: tuple[Object, ...] = ()
    apply: tuple[Object, ...] = ()
    waiting: tuple[Object, ...] = ()
    """Live and on the way out: applied when it is gone, which comes as an event."""
    blocked: tuple[Blocked, ...] = ()
    held: tuple[Object, ...] = ()
    """To be applied when their pause is over: somebody undoes them each time."""
    prune: tuple[Object, ...] = ()
    """Live children that are no longer desired."""
    drifted: tuple[Object, ...] = ()
    """Those of `apply` that somebody else changed."""
    new: tuple[Object, ...] = ()
    """Those of `apply` whose names are free, as far as is known."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.apply or self.prune)

    @property
    def makes_all(self) -> bool:
        """Whether it makes every desired child anew: there is nothing yet to be told of them."""
        others = (self.skip, self.waiting, self.blocked, self.held, self.prune)
        return bool(self.new) and self.new == self.apply and not any(others)


def plan(desired: Iterable[Object], live: Live, children: Iterable[Object], uid: str) -> Plan:
    """Decide for each child of the relay with this uid.

    live: what has the names of desired children, whoever made it.
    children: everything that the relay controls, wanted or not.
    """
    wanted = {identity(obj): obj for obj in desired}
    groups: dict[str, list[Any]] = {
        name: [] for name in ("skip", "apply", "waiting", "blocked", "drifted", "new")
    }
    for where, obj in wanted.items():
        found = live.get(where)
        verdict = _judge(obj, found, uid)
        if verdict == "blocked" and found is not None:
            groups["blocked"].append(Blocked(where[0].kind, where[1][1], _holder(found)))
            continue
        if verdict == "drifted":
            groups["drifted"].append(obj)
            verdict = "apply"
        if found is None:
            groups["new"].append(obj)
        groups[verdict].append(obj)
    prune = [one for one in children if identity(one) not in wanted and not _is_leaving(one)]
    return Plan(prune=tuple(prune), **{name: tuple(found) for name, found in groups.items()})


def hold(todo: Plan, contests: Contests) -> Plan:
    """The plan without the writes whose time has not come."""
    early = {identity(obj) for obj in todo.apply if contests.is_early(identity(obj), _hash(obj))}
    return replace(_without(todo, early), held=_among(todo.apply, early))


def left(todo: Plan, store: Store, *, refused: bool) -> Plan:
    """What is still to do of a plan that was carried out, or refused halfway.

    The store has the server's answer to each write.
    """
    done = {identity(obj) for obj in todo.apply if is_subset(obj, store.get(*identity(obj)))}
    return replace(
        _without(todo, done),
        skip=(*todo.skip, *_among(todo.apply, done)),
        prune=todo.prune if refused else (),
    )


def _without(todo: Plan, some: Set[tuple[Kind, Key]]) -> Plan:
    """The plan without these applies."""
    kept = {identity(obj) for obj in todo.apply} - some
    return replace(
        todo,
        apply=_among(todo.apply, kept),
        drifted=_among(todo.drifted, kept),
        new=_among(todo.new, kept),
    )


def _among(objs: tuple[Object, ...], some: Set[tuple[Kind, Key]]) -> tuple[Object, ...]:
    return tuple(obj for obj in objs if identity(obj) in some)


def contestable(todo: Plan) -> Iterable[tuple[Kind, Key]]:
    """The children that are there, or should be, and that nobody else owns."""
    return map(identity, (*todo.skip, *todo.apply, *todo.held))


def identity(obj: Object) -> tuple[Kind, Key]:
    """Kind and key of an object."""
    return of(obj), key_of(obj)


def _judge(obj: Object, live: Object | None, uid: str) -> str:
    if live is None:
        return "apply"
    owner = controller_of(live)
    if owner is None or owner["uid"] != uid:
        return "waiting" if _is_predecessor(obj, owner) else "blocked"
    if _is_leaving(live):
        return "waiting"
    if _hash(live) != _hash(obj):
        return "apply"
    return "skip" if is_subset(obj, live) else "drifted"


def _is_predecessor(obj: Object, owner: Object | None) -> bool:
    """Whether a deleted relay of the same name had it: the garbage collector is on its way."""
    ours = controller_of(obj)
    if owner is None or ours is None:
        return False
    return all(owner[field] == ours[field] for field in ("apiVersion", "kind", "name"))


def _is_leaving(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def _holder(live: Object) -> str:
    owner = controller_of(live)
    if owner is not None:
        return f"{owner['kind']} {owner['name']}"
    # Who writes its status did not make it.
    fields = (
        one for one in live["metadata"].get("managedFields", ()) if not one.get("subresource")
    )
    names = sorted({str(one.get("manager", "")) for one in fields} - {""})
    return f"somebody else (field manager {', '.join(names[:3])})" if names else "somebody else"


def _hash(obj: Object) -> str:
    return str(obj["metadata"].get("annotations", {}).get(APPLIED_HASH, ""))


OnConflict = Callable[[Object, tuple[FieldConflict, ...]], Awaitable[None]]
"""Told of a child and the fields of it that others hold, before they are taken back."""


class Applier:
    """Executes plans.

    Everything that a builder writes is ours by design; what is not, such as the replicas that an
    autoscaler sets, it leaves out. So fields of others are told, and then taken back by force.
    """

    def __init__(
        self,
        kube: Writer,
        store: Store,
        metrics: Metrics,
        contests: Contests,
        on_conflict: OnConflict,
    ) -> None:
        self._kube = kube
        self._store = store
        self._metrics = metrics
        self._contests = contests
        self._on_conflict = on_conflict

    async def execute(self, todo: Plan) -> None:
        """Apply in order, then prune."""
        self._count(todo)
        new = {identity(obj) for obj in todo.new}
        for obj in todo.apply:
            await self._apply(obj, is_new=identity(obj) in new)
        for obj in todo.prune:
            await self._prune(obj)

    def _count(self, todo: Plan) -> None:
        for obj in todo.skip:
            self._metrics.applies.labels(obj["kind"], "skipped").inc()
        for obj in todo.drifted:
            self._metrics.drift.labels(obj["kind"]).inc()

    async def _apply(self, obj: Object, *, is_new: bool) -> None:
        try:
            await (self._create(obj) if is_new else self._write(obj))
        except TakenError:
            raise
        except KubeError:
            self._metrics.applies.labels(obj["kind"], "error").inc()
            raise

    async def _create(self, obj: Object) -> None:
        try:
            live = await self._kube.apply_new(obj)
        except Conflict as conflict:
            raise TakenError(conflict.code, conflict.reason, conflict.message) from None
        self._written(obj, live, undone(obj, None, ()))

    async def _write(self, obj: Object) -> None:
        before = self._store.get(*identity(obj))
        await self._hand_over(obj)
        try:
            live, conflicts = await self._applied(obj)
        except Invalid as refusal:
            if not (refusal.cannot_change and await self._is_making_way(obj)):
                raise
            return
        self._written(obj, live, undone(obj, before, conflicts))

    def _written(self, obj: Object, live: Object, how: str) -> None:
        self._metrics.applies.labels(obj["kind"], "applied").inc()
        self._store.put(live)
        self._contests.wrote(identity(obj), _hash(obj), how)

    async def _applied(self, obj: Object) -> tuple[Object, tuple[FieldConflict, ...]]:
        """Unforced first: only so the server tells who holds which field."""
        try:
            return await self._kube.apply(obj), ()
        except Conflict as conflict:
            if not conflict.causes:
                raise
            self._metrics.applies.labels(obj["kind"], "conflict").inc()
            # Told first: killed after the force, nobody would ever know.
            await self._on_conflict(obj, conflict.causes)
            taken = conflict.causes
        return await self._kube.apply(obj, force=True), taken

    async def _hand_over(self, obj: Object) -> None:
        """Keep the number of pods of a Deployment that an autoscaler is to own from now on.

        Whoever stops applying a field that nobody else owns removes it, and its default is 1. So
        another name of ours owns it for a moment; the autoscaler takes it from there.
        """
        kind, key = identity(obj)
        live = self._store.get(kind, key)
        if kind != DEPLOYMENT or live is None or "replicas" in obj["spec"]:
            return
        replicas = live["spec"].get("replicas", 1)
        if replicas <= 1:
            return
        metadata = {"namespace": key[0], "name": key[1]}
        kept = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
        # In a conflict somebody else owns it already, with a newer number: all is well.
        with contextlib.suppress(Conflict):
            await self._kube.hand_over({**kept, "spec": {"replicas": replicas}})

    async def _is_making_way(self, obj: Object) -> bool:
        """Delete a live child that cannot be changed into what is wanted; its end is an event."""
        kind, key = identity(obj)
        live = self._store.get(kind, key)
        if live is None:
            return False
        await self._kube.delete(kind, *key, uid=live["metadata"]["uid"])
        return True

    async def _prune(self, obj: Object) -> None:
        kind, key = identity(obj)
        await self._kube.delete(kind, *key, uid=obj["metadata"]["uid"])
        self._metrics.pruned.labels(kind.kind).inc()
        if kind in OPTIONAL_CHILD_KINDS:
            self._store.forget(kind, key)  # Nobody watches it, so its end is no event.
