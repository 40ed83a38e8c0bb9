"""Drift: whether a live object still has the applied fields, and where it does not."""

from typing import Any


def is_subset(desired: Any, live: Any) -> bool:  # noqa: ANN401 (JSON of any shape)
    """Whether live has all fields of desired; the server and other writers may have added more.

    Lists of objects compare item by item in order, since the server keeps the order that we
    apply; lists that belong to others as well (ownerReferences) may hold more.
    """
    if _is_same(desired, live):
        return True
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(
            is_subset(value, live.get(name)) for name, value in desired.items()
        )
    return isinstance(desired, list) and _is_sublist(desired, live)


def first_difference(desired: object, live: object, path: str = "") -> str:
    """The path of a field that is not as desired, `.spec.ports[0].port`; empty when none is."""
    if isinstance(desired, dict) and isinstance(live, dict):
        parts = ((f".{name}", value, live.get(name)) for name, value in desired.items())
    elif isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        pairs = enumerate(zip(desired, live, strict=True))
        parts = ((f"[{at}]", want, have) for at, (want, have) in pairs)
    else:
        return "" if _is_same(desired, live) else path
    differences = (first_difference(want, have, path + part) for part, want, have in parts)
    return next(filter(None, differences), "")


def _is_sublist(desired: list[Any], live: object) -> bool:
    # The server may leave an empty list out. An item that another writer adds to it is a change:
    # in a NetworkPolicy it would open what no rule allows.
    if not desired:
        return not live
    if not isinstance(live, list):
        return False
    if len(live) == len(desired):
        return all(is_subset(want, have) for want, have in zip(desired, live, strict=True))
    # Another writer added items: ours must still be there.
    # The API server merges only lists with such keys; any other list is one value.
    mergeable = all(
        isinstance(item, dict) and ("name" in item or "uid" in item) for item in desired
    )
    return mergeable and all(any(is_subset(want, have) for have in live) for want in desired)


def _is_same(desired: object, live: object) -> bool:
    """The server leaves out what is empty or false."""
    return desired == live or (live is None and desired in ("", False))
