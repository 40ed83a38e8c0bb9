"""Reading of typed values from decoded JSON; every problem is collected with its field path."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

Json = Mapping[str, Any]
"""Decoded JSON that is only read."""

Choice = TypeVar("Choice", bound=StrEnum)
Default = TypeVar("Default")


class SpecError(Exception):
    """The spec cannot be read; each problem names a field and the rule that it breaks."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class SpecReader:
    """Reads one JSON object at `path`.

    An absent field gives the default. A field of the wrong type gives the default and a problem.
    """

    def __init__(self, data: object, path: str, problems: list[str]) -> None:
        self._path = path
        self._problems = problems
        # A wrong type leaves an empty section: reading goes on, so that one error lists all
        # problems.
        self._data: Mapping[str, Any] = {}
        if isinstance(data, Mapping):
            self._data = data
        elif data is not None:
            problems.append(f"{path}: must be an object")

    def __contains__(self, name: str) -> bool:
        # The API server removes null, so a null in a file counts as absent.
        return self._data.get(name) is not None

    def section(self, name: str) -> SpecReader:
        """The object in field `name`, empty when it is absent."""
        return SpecReader(self._data.get(name), f"{self._path}.{name}", self._problems)

    def text(self, name: str, default: str = "") -> str:
        """A string."""
        value = self._data.get(name, default)
        return value if isinstance(value, str) else self._wrong(name, "a string", default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean."""
        value = self._data.get(name, default)
        return value if isinstance(value, bool) else self._wrong(name, "true or false", default)

    def integer(self, name: str, default: int, low: int = 0, high: int = 2**31 - 1) -> int:
        """An integer from `low` to `high`."""
        value = self._data.get(name, default)
        # In Python True is an int; in JSON it is not an integer.
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        return self._wrong(name, f"an integer from {low} to {high}", default)

    def choice(self, name: str, default: Choice) -> Choice:
        """One value of the enumeration that `default` belongs to."""
        kind = type(default)
        value = self._data.get(name, default)
        if isinstance(value, str) and value in set(kind):
            return kind(value)
        return self._wrong(name, f"one of {', '.join(kind)}", default)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, empty when absent."""
        values = self._data.get(name, [])
        if isinstance(values, list) and all(isinstance(value, str) for value in values):
            return tuple(values)
        return self._wrong(name, "a list of strings", ())

    def mapping(self, name: str, default: Mapping[str, Any]) -> Mapping[str, Any]:
        """A JSON object, unchanged."""
        value = self._data.get(name, default)
        return value if isinstance(value, Mapping) else self._wrong(name, "an object", default)

    def objects(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """A list of JSON objects, unchanged; empty when absent."""
        values = self._data.get(name, [])
        if isinstance(values, list) and all(isinstance(value, Mapping) for value in values):
            return tuple(values)
        return self._wrong(name, "a list of objects", ())

    def _wrong(self, name: str, rule: str, default: Default) -> Default:
        """Record a problem and return the default."""
        self._problems.append(f"{self._path}.{name}: must be {rule}")
        return default
