"""Owner references: which relay an object belongs to."""

from collections.abc import Iterable

from tokenplace_operator.api.kinds import RELAY, Key, Kind, Object, key_of


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference of the object's controller, of whatever kind."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            controller: Object = reference
            return controller
    return None


def parent_key(obj: Object) -> Key | None:
    """Return the key of the relay that controls the object; None when no relay does."""
    owner = controller_of(obj)
    if owner is None or owner["kind"] != RELAY.kind:
        return None
    # Without the version: a relay keeps its children when the CRD gets a new one.
    if owner["apiVersion"].partition("/")[0] != RELAY.group:
        return None
    # An owner is always in the same namespace; a reference has no field for another one.
    return obj["metadata"]["namespace"], owner["name"]


def relays_of(kind: Kind, objs: Iterable[Object]) -> set[Key]:
    """The keys of the relays that the objects are, or that control them."""
    keys = (key_of(obj) if kind == RELAY else parent_key(obj) for obj in objs)
    return {key for key in keys if key is not None}
