"""Passes on what the user wrote in the shapes of Kubernetes, in the form the server keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def compact(value: Any) -> Any:  # noqa: ANN401 (JSON in, JSON of the same shape out)
    """A copy without empty texts, false, and empty lists: the server stores none of them.

    Left in, they would look like drift for ever. Maps stay, as an empty selector has a meaning,
    but matchLabels do not when empty, and their values may be empty texts.
    """
    if isinstance(value, Mapping):
        return {name: _kept(name, item) for name, item in value.items() if _is_stored(name, item)}
    if isinstance(value, list | tuple):
        return [compact(item) for item in value]
    return value


def _kept(name: str, value: Any) -> Any:  # noqa: ANN401
    return dict(value) if name == "matchLabels" else compact(value)


def _is_stored(name: str, value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) or name != "matchLabels"
    return value not in (None, "", [], ()) and value is not False
