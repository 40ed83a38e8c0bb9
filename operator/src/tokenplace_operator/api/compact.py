"""User-written Kubernetes fields in the form in which the API server stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def compact(value: Any) -> Any:  # noqa: ANN401 (JSON in, JSON of the same shape out)
    """Return a copy without empty strings, false, null and empty lists.

    The API server stores none of them, so they would count as drift. Empty maps stay, because an
    empty selector has a meaning; only an empty matchLabels goes. Its values may be empty strings.
    """
    if isinstance(value, Mapping):
        return {
            name: _compact_field(name, item)
            for name, item in value.items()
            if _is_stored(name, item)
        }
    if isinstance(value, list | tuple):
        return [compact(item) for item in value]
    return value


def _compact_field(name: str, value: Any) -> Any:  # noqa: ANN401
    return dict(value) if name == "matchLabels" else compact(value)


def _is_stored(name: str, value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) or name != "matchLabels"
    # `is not False`, because 0 == False in Python, and the API server stores 0.
    return value not in (None, "", [], ()) and value is not False
