"""Decides what to write for each desired child: skip, apply, wait, block, defer or prune.

Pure functions over desired and live objects; `children.apply` carries the plan out.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from tokenplace_operator.api.kinds import Identity, Key, Kind, Object, identity
from tokenplace_operator.api.owners import controller_of
from tokenplace_operator.children.drift import is_subset
from tokenplace_operator.desired.child import APPLIED_HASH


@dataclass(frozen=True, slots=True)
class Blocked:
    """A desired child whose name another owner uses; `by` describes that owner."""

    kind: str
    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The writes of one reconcile. Each desired child is in exactly one of the first five."""

    skip: tuple[Object, ...] = ()
    """Live children that are as desired."""
    apply: tuple[Object, ...] = ()
    waiting: tuple[Object, ...] = ()
    """Children whose live object is being deleted; the end of the deletion is an event."""
    blocked: tuple[Blocked, ...] = ()
    deferred: tuple[Object, ...] = ()
    """Children that another controller keeps reverting, in their write backoff."""
    prune: tuple[Object, ...] = ()
    """Live children that are no longer desired."""
    drifted: tuple[Object, ...] = ()
    """The subset of `apply` whose live objects drifted."""
    new: tuple[Object, ...] = ()
    """The subset of `apply` for which no live object is known."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (self.apply or self.prune)

    @property
    def creates_everything(self) -> bool:
        """Whether every desired child is created by this plan, so none has a state to report."""
        others = (self.skip, self.waiting, self.blocked, self.deferred, self.prune)
        return bool(self.new) and self.new == self.apply and not any(others)


def plan(
    desired: Iterable[Object],
    live: Mapping[Identity, Object],
    children: Iterable[Object],
    uid: str,
) -> Plan:
    """Compare desired and live children of the relay with this uid.

    live: the objects that have the names of desired children, whatever their owner.
    children: all objects that the relay controls, desired or not.
    """
    by_identity = {identity(obj): obj for obj in desired}
    groups: dict[str, list[Any]] = {
        name: [] for name in ("skip", "apply", "waiting", "blocked", "drifted", "new")
    }
    for child, obj in by_identity.items():
        present = live.get(child)
        action = _action(obj, present, uid)
        if action == "blocked" and present is not None:
            groups["blocked"].append(Blocked(child[0].kind, child[1][1], _owner_text(present)))
            continue
        if action == "drifted":
            groups["drifted"].append(obj)
            action = "apply"
        if present is None:
            groups["new"].append(obj)
        groups[action].append(obj)
    prune = [
        obj for obj in children if identity(obj) not in by_identity and not is_being_deleted(obj)
    ]
    return Plan(prune=tuple(prune), **{name: tuple(objs) for name, objs in groups.items()})


def defer(todo: Plan, is_backing_off: Callable[[Identity, str], bool]) -> Plan:
    """Move the children that are in write backoff from `apply` to `deferred`.

    is_backing_off: of a child and the hash of its content, as in WriteBackoff.
    """
    early = {
        identity(obj) for obj in todo.apply if is_backing_off(identity(obj), applied_hash_of(obj))
    }
    return replace(_without(todo, early), deferred=_among(todo.apply, early))


def remaining(todo: Plan, live: Callable[[Kind, Key], Object | None], *, rejected: bool) -> Plan:
    """The part of an executed plan that is still to do.

    live: returns the newest version of an object, so also the server's answer to each write.
    rejected: whether the API server rejected a write, which ended the execution.
    """
    done = {identity(obj) for obj in todo.apply if is_subset(obj, live(*identity(obj)))}
    return replace(
        _without(todo, done),
        skip=(*todo.skip, *_among(todo.apply, done)),
        # A rejected apply ends the execution before the first deletion.
        prune=todo.prune if rejected else (),
    )


def controlled(todo: Plan) -> Iterable[Identity]:
    """The desired children that the relay controls now or will control."""
    return map(identity, (*todo.skip, *todo.apply, *todo.deferred))


def applied_hash_of(obj: Object) -> str:
    """The hash annotation of a desired or live child; empty without one."""
    return str(obj["metadata"].get("annotations", {}).get(APPLIED_HASH, ""))


def is_being_deleted(obj: Object) -> bool:
    """Whether the object has a deletionTimestamp."""
    return "deletionTimestamp" in obj["metadata"]


def _action(obj: Object, live: Object | None, uid: str) -> str:
    """The group of a desired child; `drifted` becomes an apply that is also counted."""
    if live is None:
        return "apply"
    owner = controller_of(live)
    # By uid, because a relay that was deleted and created again keeps its name.
    if owner is None or owner["uid"] != uid:
        return "waiting" if _is_of_predecessor(obj, owner) else "blocked"
    if is_being_deleted(live):
        return "waiting"
    # A field that is desired no longer shows in the hash only: the live object still has all that
    # is desired.
    if applied_hash_of(live) != applied_hash_of(obj):
        return "apply"
    return "skip" if is_subset(obj, live) else "drifted"


def _is_of_predecessor(obj: Object, owner: Object | None) -> bool:
    """Whether a deleted relay of the same name owns it: garbage collection will delete it."""
    ours = controller_of(obj)
    if owner is None or ours is None:
        return False
    return all(owner[field] == ours[field] for field in ("apiVersion", "kind", "name"))


def _owner_text(live: Object) -> str:
    """The controller of an unmanaged object, or else the field managers that wrote its spec."""
    owner = controller_of(live)
    if owner is not None:
        return f"{owner['kind']} {owner['name']}"
    # A manager that only writes the status did not create the object.
    fields = (
        entry for entry in live["metadata"].get("managedFields", ()) if not entry.get("subresource")
    )
    names = sorted({str(entry.get("manager", "")) for entry in fields} - {""})
    return f"another owner (field manager {', '.join(names[:3])})" if names else "another owner"


def _without(todo: Plan, excluded: Set[Identity]) -> Plan:
    """The plan without the applies of these children."""
    kept = {identity(obj) for obj in todo.apply} - excluded
    return replace(
        todo,
        apply=_among(todo.apply, kept),
        drifted=_among(todo.drifted, kept),
        new=_among(todo.new, kept),
    )


def _among(objs: tuple[Object, ...], selected: Set[Identity]) -> tuple[Object, ...]:
    return tuple(obj for obj in objs if identity(obj) in selected)
