"""What the operator knows of the cluster: relays and their children, newest version of each.

Fed by watch events, by the answers to our own writes, and by resync. Versions are compared, so
the order in which these arrive does not matter: an older one never replaces a newer one.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from tokenplace_operator.api.kinds import CHILD_KINDS, RELAY, Key, Kind, Object, key_of, of
from tokenplace_operator.api.labels import selector_of
from tokenplace_operator.metrics import Metrics

DELETED = "DELETED"
MAX_TOMBSTONES = 4096
MAX_WORDS = 1 << 16

_Id = tuple[Kind, Key]


class Lister(Protocol):
    """The one call that resync needs of `Kube`."""

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = ""
    ) -> tuple[list[Object], str]:
        """Return all objects of a kind and the resourceVersion of the list."""
        ...


class Store:
    """Objects by kind and key, and children by the uid of their controller."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._objects: dict[Kind, dict[Key, Object]] = {}
        self._children: dict[str, set[_Id]] = {}
        # The version at which an object went, so that an answer or list read before that
        # does not bring it back.
        self._tombstones: OrderedDict[_Id, str] = OrderedDict()
        self._words: dict[str, str] = {}

    def observe(self, event_type: str | None, obj: Object) -> bool:
        """Take in a watch event; False for an echo of what is known, which needs no reconcile."""
        kind, key = of(obj), key_of(obj)
        if event_type == DELETED:
            return self._observe_delete(kind, key, obj)
        if not self._is_news(kind, key, obj):
            return False
        self._set(kind, key, obj)
        return True

    def put(self, obj: Object) -> None:
        """Take in the answer to a write of ours."""
        self.observe(None, obj)

    def get(self, kind: Kind, key: Key) -> Object | None:
        """Return the newest known version, or None."""
        return self._objects.get(kind, {}).get(key)

    def all(self, kind: Kind) -> list[Object]:
        """Return all known objects of a kind."""
        return list(self._objects.get(kind, {}).values())

    def children(self, parent_uid: str) -> list[Object]:
        """Return the objects whose controller has this uid."""
        return [self._objects[kind][key] for kind, key in self._children.get(parent_uid, ())]

    def forget(self, kind: Kind, key: Key) -> None:
        """Drop an object that is known to be gone."""
        obj = self._objects.get(kind, {}).pop(key, None)
        if obj is not None:
            self._unlink(kind, key, obj)

    async def resync(self, lister: Lister, namespaces: Sequence[str] = ()) -> list[Key]:
        """List every kind afresh and drop what vanished unnoticed; return relays to reconcile.

        namespaces: only these; empty: all. The keys include relays that are gone.
        """
        keys = {key_of(relay) for relay in self.all(RELAY)}
        with self._metrics.resync_duration.time():
            for kind in (RELAY, *CHILD_KINDS):
                await self.relist(lister, kind, namespaces)
        return sorted(keys | {key_of(relay) for relay in self.all(RELAY)})

    async def relist(self, lister: Lister, kind: Kind, namespaces: Sequence[str] = ()) -> set[Key]:
        """List one kind afresh; return the relays whose objects changed or vanished unnoticed."""
        concerned: set[Key] = set()
        before = self._newest(kind)
        for namespace in namespaces or (None,):
            items, version = await lister.list(kind, namespace, selector_of(kind))
            if version.isdecimal() and int(version) < before:
                # The datastore was restored from a copy, and versions count from there again.
                concerned |= self._disbelieve(kind, namespace)
            concerned |= self._replace(kind, namespace, items, version)
        return concerned

    def _newest(self, kind: Kind) -> int:
        versions = [_version(obj) for obj in self.all(kind)]
        versions += [version for one, version in self._tombstones.items() if one[0] == kind]
        return max((int(one) for one in versions if one.isdecimal()), default=0)

    def _disbelieve(self, kind: Kind, namespace: str | None) -> set[Key]:
        """Forget what is known of a kind, whatever its version; return the relays concerned."""
        known = [obj for obj in self.all(kind) if namespace in {None, key_of(obj)[0]}]
        for obj in known:
            self.forget(kind, key_of(obj))
        for one in [one for one in self._tombstones if one[0] == kind]:
            del self._tombstones[one]
        return concerned(kind, known)

    def drop(self, kind: Kind) -> None:
        """Forget all objects of a kind that the API server no longer serves."""
        for key in list(self._objects.get(kind, {})):
            self.forget(kind, key)

    def _replace(
        self, kind: Kind, namespace: str | None, items: Iterable[Object], version: str
    ) -> set[Key]:
        listed = set()
        changed = []
        for obj in items:
            listed.add(key_of(obj))
            known = self.get(kind, key_of(obj))
            if self.observe(None, obj):
                changed += [obj] if known is None else [known, obj]
        for key, obj in list(self._objects.get(kind, {}).items()):
            in_scope = namespace is None or key[0] == namespace
            # What is newer than the list was written while we listed.
            if in_scope and key not in listed and not _newer(_version(obj), version):
                self.forget(kind, key)
                self._bury(kind, key, version)
                self._metrics.resync_missed_deletes.labels(kind.kind).inc()
                changed.append(obj)
        return concerned(kind, changed)

    def _observe_delete(self, kind: Kind, key: Key, obj: Object) -> bool:
        known = self.get(kind, key)
        if known is not None and _newer(_version(known), _version(obj)):
            return False
        self.forget(kind, key)
        self._bury(kind, key, _version(obj))
        return known is not None

    def _bury(self, kind: Kind, key: Key, version: str) -> None:
        self._tombstones[kind, key] = version
        self._tombstones.move_to_end((kind, key))
        if len(self._tombstones) > MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)

    def _is_news(self, kind: Kind, key: Key, obj: Object) -> bool:
        version = _version(obj)
        gone_at = self._tombstones.get((kind, key))
        if gone_at is not None and not _newer(version, gone_at):
            return False
        known = self.get(kind, key)
        return known is None or _newer(version, _version(known))

    def _set(self, kind: Kind, key: Key, obj: Object) -> None:
        self.forget(kind, key)
        self._tombstones.pop((kind, key), None)
        metadata = {name: v for name, v in obj["metadata"].items() if name != "managedFields"}
        if len(self._words) > MAX_WORDS:
            self._words.clear()
        obj = _shared({**obj, "metadata": metadata}, self._words)
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


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference of the object's controller, of whatever kind."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def parent_key(obj: Object) -> Key | None:
    """Return the key of the relay that controls the object; None when it has another or none."""
    owner = controller_of(obj)
    if owner is None or owner["kind"] != RELAY.kind:
        return None
    if owner["apiVersion"].partition("/")[0] != RELAY.group:
        return None
    return obj["metadata"]["namespace"], owner["name"]


def concerned(kind: Kind, objs: Iterable[Object]) -> set[Key]:
    """The relays that objects are, or belong to."""
    keys = (key_of(obj) if kind == RELAY else parent_key(obj) for obj in objs)
    return {key for key in keys if key is not None}


def _shared(value: Any, words: dict[str, str]) -> Any:  # noqa: ANN401 (JSON of any shape)
    """An equal value in which equal strings are one: objects of a kind repeat the same words.

    sys.intern would do, but Python 3.12 never lets go of a string that went through it.
    """
    kind = type(value)
    if kind is str:  # Nearly all of them.
        return words.setdefault(value, value)
    if kind is dict:
        return {words.setdefault(name, name): _shared(one, words) for name, one in value.items()}
    if kind is list:
        return [_shared(one, words) for one in value]
    return value


def _controller_uid(obj: Object) -> str | None:
    owner = controller_of(obj)
    return None if owner is None else str(owner["uid"])


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _newer(version: str, than: str) -> bool:
    """Compare resourceVersions as the numbers they are; when unsure, take it as newer."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than
