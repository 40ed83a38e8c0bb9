"""Cache of the cluster: the newest version of each relay and of its child resources.

Watch events, the answers to our own writes, and resyncs feed it. It compares resourceVersions, so
the order of these does not matter: an older version never replaces a newer one.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from tokenplace_operator.api.kinds import (
    CHILD_KINDS,
    RELAY,
    Identity,
    Key,
    Kind,
    Object,
    identity,
    key_of,
    version_of,
)
from tokenplace_operator.api.labels import selector_of
from tokenplace_operator.api.owners import controller_of, relays_of
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.metrics import Metrics

DELETED = "DELETED"
MAX_WORDS = 1 << 16


class Lister(Protocol):
    """The call of `Kube` that lists objects."""

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        """Return all objects of a kind and the resourceVersion of the list."""
        ...


class Store:
    """Objects by kind and key, and child resources by the uid of their controller."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._objects: dict[Kind, dict[Key, Object]] = {}
        self._children: dict[str, set[Identity]] = {}
        self._tombstones: BoundedDict[Identity, str] = BoundedDict()
        """The version at which an object was deleted: answers and lists that were read before
        that do not bring it back."""
        self._words: dict[str, str] = {}

    def observe(self, event_type: str | None, obj: Object) -> bool:
        """Store the object of a watch event; return whether it changed the store.

        event_type: ADDED, MODIFIED or DELETED; None: listed, or the answer to a write.
        """
        kind, key = identity(obj)
        if event_type == DELETED:
            return self._observe_delete(kind, key, obj)
        if not self._is_newer(kind, key, obj):
            return False
        self._set(kind, key, obj)
        return True

    def put(self, obj: Object) -> None:
        """Store the answer to a write."""
        self.observe(None, obj)

    def get(self, kind: Kind, key: Key) -> Object | None:
        """Return the newest version of an object, or None."""
        return self._objects.get(kind, {}).get(key)

    def all(self, kind: Kind) -> list[Object]:
        """Return all objects of a kind."""
        return list(self._objects.get(kind, {}).values())

    def children(self, parent_uid: str) -> list[Object]:
        """Return the objects whose controller has this uid."""
        return [self._objects[kind][key] for kind, key in self._children.get(parent_uid, ())]

    def forget(self, kind: Kind, key: Key) -> None:
        """Remove an object that is gone."""
        obj = self._objects.get(kind, {}).pop(key, None)
        if obj is not None:
            self._unlink(kind, key, obj)

    def drop(self, kind: Kind) -> None:
        """Remove all objects of a kind that the API server no longer serves."""
        for key in list(self._objects.get(kind, {})):
            self.forget(kind, key)

    async def resync(self, lister: Lister, namespaces: Sequence[str] = ()) -> list[Key]:
        """List every kind, and remove objects whose deletion no event reported.

        namespaces: the watched ones; empty: all.
        Returns the keys of all relays, including those that are gone; raises KubeError.
        """
        keys = {key_of(relay) for relay in self.all(RELAY)}
        with self._metrics.resync_duration.time():
            for kind in (RELAY, *CHILD_KINDS):
                await self.relist(lister, kind, namespaces)
        return sorted(keys | {key_of(relay) for relay in self.all(RELAY)})

    async def relist(self, lister: Lister, kind: Kind, namespaces: Sequence[str] = ()) -> set[Key]:
        """List one kind; return the relays whose objects changed or are gone."""
        changed: set[Key] = set()
        # Read before the list: events that arrive meanwhile may be newer than its version.
        newest = self._newest_version(kind)
        for namespace in namespaces or (None,):
            items, version = await lister.list(kind, namespace, selector_of(kind))
            if version.isdecimal() and int(version) < newest:
                # etcd was restored from a backup, and versions count from there again: the
                # versions in the store are of no use any more.
                changed |= self._discard(kind, namespace)
            changed |= self._replace(kind, namespace, items, version)
        return changed

    def _newest_version(self, kind: Kind) -> int:
        versions = [version_of(obj) for obj in self.all(kind)]
        versions += [version for target, version in self._tombstones.items() if target[0] == kind]
        return max((int(version) for version in versions if version.isdecimal()), default=0)

    def _discard(self, kind: Kind, namespace: str | None) -> set[Key]:
        """Remove the objects and tombstones of a kind; return the relays of the objects."""
        objs = [obj for obj in self.all(kind) if namespace in {None, key_of(obj)[0]}]
        for obj in objs:
            self.forget(kind, key_of(obj))
        for target in [target for target in self._tombstones if target[0] == kind]:
            del self._tombstones[target]
        return relays_of(kind, objs)

    def _replace(
        self, kind: Kind, namespace: str | None, items: Iterable[Object], version: str
    ) -> set[Key]:
        listed = set()
        changed = []
        for obj in items:
            listed.add(key_of(obj))
            before = self.get(kind, key_of(obj))
            # Both versions, because a child may have changed its owner.
            if self.observe(None, obj):
                changed += [obj] if before is None else [before, obj]
        for key, obj in list(self._objects.get(kind, {}).items()):
            in_scope = namespace is None or key[0] == namespace
            # An object that is newer than the list was written while we listed.
            if in_scope and key not in listed and not _newer(version_of(obj), version):
                self.forget(kind, key)
                # An older event that is still in transit must not bring the object back.
                self._tombstones[kind, key] = version
                self._metrics.resync_missed_deletes.labels(kind.kind).inc()
                changed.append(obj)
        return relays_of(kind, changed)

    def _observe_delete(self, kind: Kind, key: Key, obj: Object) -> bool:
        stored = self.get(kind, key)
        # The object was created again, and that event or answer came before this deletion.
        if stored is not None and _newer(version_of(stored), version_of(obj)):
            return False
        self.forget(kind, key)
        self._tombstones[kind, key] = version_of(obj)
        return stored is not None

    def _is_newer(self, kind: Kind, key: Key, obj: Object) -> bool:
        version = version_of(obj)
        deleted_at = self._tombstones.get((kind, key))
        if deleted_at is not None and not _newer(version, deleted_at):
            return False
        stored = self.get(kind, key)
        return stored is None or _newer(version, version_of(stored))

    def _set(self, kind: Kind, key: Key, obj: Object) -> None:
        # Removed first, because the new version may have another owner in the index.
        self.forget(kind, key)
        self._tombstones.pop((kind, key), None)
        # managedFields are often larger than the object, and no reconcile reads them from here.
        metadata = {name: v for name, v in obj["metadata"].items() if name != "managedFields"}
        if len(self._words) > MAX_WORDS:
            # This frees only the table: objects in the store keep their strings.
            self._words.clear()
        obj = _with_shared_strings({**obj, "metadata": metadata}, self._words)
        self._objects.setdefault(kind, {})[key] = obj
        uid = _controller_uid(obj)
        if uid is not None:
            self._children.setdefault(uid, set()).add((kind, key))

    def _unlink(self, kind: Kind, key: Key, obj: Object) -> None:
        uid = _controller_uid(obj)
        if uid is None:
            return
        siblings = self._children[uid]
        siblings.discard((kind, key))
        if not siblings:
            del self._children[uid]


def _with_shared_strings(value: Any, words: dict[str, str]) -> Any:  # noqa: ANN401 (JSON)
    """An equal value in which equal strings are one object: objects of a kind repeat the same ones.

    Not sys.intern, because Python 3.12 never frees an interned string.
    """
    kind = type(value)
    if kind is str:  # Nearly all of them.
        return words.setdefault(value, value)
    if kind is dict:
        return {
            words.setdefault(name, name): _with_shared_strings(item, words)
            for name, item in value.items()
        }
    if kind is list:
        return [_with_shared_strings(item, words) for item in value]
    return value


def _controller_uid(obj: Object) -> str | None:
    owner = controller_of(obj)
    return None if owner is None else str(owner["uid"])


def _newer(version: str, than: str) -> bool:
    """Compare resourceVersions as numbers; an opaque one that differs counts as newer."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than
