"""Mapping of Helm values to fields of a spec, with one entry for each value."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tokenplace_operator.api.kinds import Object

Path = tuple[str, ...]
"""The keys that lead to a value."""

MAP_OR_LIST = {"env"}
"""Values that may be a map or a list."""


class Outcome(StrEnum):
    """The outcome of one value."""

    CARRIED = "carried over"
    CHANGED = "changed"
    NOT_CARRIED = "not carried over"


@dataclass(frozen=True, slots=True)
class Entry:
    """Outcome of one value.

    value: its dotted path. field: the field of the spec, or empty. note: the reason, or what the
    user has to do. An entry never holds a value that could be secret.
    """

    outcome: Outcome
    value: str
    field: str
    note: str = ""


class ValuesError(Exception):
    """A value has a type that no chart could render; the message names the value and the rule."""


class ValueMapping:
    """Maps the values of one release: builds the spec and records an entry for each value.

    given: the user's values; defaults: those of the chart. Both are merged as Helm merges them.
    Raises ValuesError where a section of the chart is not a map.
    """

    def __init__(self, given: Object, defaults: Object) -> None:
        for name, default in defaults.items():
            if isinstance(default, dict) and name not in MAP_OR_LIST:
                _check_map(name, given.get(name))
        self._given = {name: value for name, value in given.items() if name in defaults}
        self._defaults = defaults
        self._values = merged(defaults, self._given)
        self.spec: Object = {}
        self.entries: list[Entry] = []
        self._recorded: list[Path] = []
        for name in sorted(given.keys() - defaults.keys()):
            self.leave_out((name,), "The chart has no such value, and Helm ignores it")

    def get(self, *path: str) -> Any:  # noqa: ANN401 (any value)
        """The value in effect; None when there is none."""
        return _at(self._values, path)

    def map_at(self, *path: str) -> Object:
        """The map in effect, or an empty one; ValuesError when the value is not a map."""
        value = self.get(*path)
        _check_map(dotted(path), value)
        return value or {}

    def list_at(self, *path: str) -> list[Object]:
        """The list of maps in effect, or an empty one; ValuesError for another type."""
        value = self.get(*path) or []
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return value
        raise ValuesError(f"{dotted(path)}: must be a list of maps")

    def is_set(self, *path: str) -> bool:
        """Whether the user set a value here that differs from the chart's default."""
        if not path:
            return bool(self._given)
        parent = _at(self._given, path[:-1])
        is_given = isinstance(parent, dict) and path[-1] in parent
        # helm get values --all also returns defaults, which are not the user's choice.
        return is_given and self.get(*path) != _at(self._defaults, path)

    def carry_over(self, path: Path, field: str, value: Any, note: str = "") -> None:  # noqa: ANN401
        """Set a field that means the same as the value; None or no field: only record it."""
        self._set_field(field, value)
        self._record(Outcome.CARRIED, path, field, note)

    def change(self, path: Path, field: str, value: Any, why: str) -> None:  # noqa: ANN401
        """Set a field to another value; None: the operator's default applies."""
        self._set_field(field, value)
        self._record(Outcome.CHANGED, path, field, why)

    def leave_out(self, path: Path, todo: str) -> None:
        """Record a value that no field can hold, and what the user has to do."""
        self._record(Outcome.NOT_CARRIED, path, "", todo)

    def copy(self, path: Path, field: str) -> None:
        """Carry over a value as it is, if the user set one."""
        if self.is_set(*path):
            self.carry_over(path, field, self.get(*path))

    def leave_out_the_rest(self, note: str) -> None:
        """Record each of the user's values that has no entry yet, so that none is lost silently."""
        for path in list(_leaves(self._given)):
            value = _at(self._given, path)
            if value == _at(self._defaults, path) or self._is_recorded(path):
                continue
            # Helm removes a default that is set to null, and so does this mapping.
            if value is None:
                self._record(Outcome.CARRIED, path, "", "Removes the chart's default")
            else:
                self.leave_out(path, note)

    def _is_recorded(self, path: Path) -> bool:
        """Whether a value, or one above or below it, has an entry."""
        return any(
            path[: len(recorded)] == recorded or recorded[: len(path)] == path
            for recorded in self._recorded
        )

    def _record(self, outcome: Outcome, path: Path, field: str, note: str) -> None:
        self._recorded.append(path)
        self.entries.append(Entry(outcome, dotted(path), field, note))

    def _set_field(self, field: str, value: Any) -> None:  # noqa: ANN401
        # Some entries name metadata.name, or no field at all; the spec does not hold those.
        if value is None or not field.startswith("spec."):
            return
        *parents, last = field.split(".")[1:]
        section = self.spec
        for name in parents:
            section = section.setdefault(name, {})
        section[last] = value


def overlaid(first: Object, second: Object) -> Object:
    """Two files of values merged as Helm merges them: maps key by key, other values replaced."""
    result = dict(first)
    for name, value in second.items():
        old = result.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            result[name] = overlaid(old, value)
        else:
            result[name] = value
    return result


def merged(defaults: Object, given: Object) -> Object:
    """Values over the defaults of a chart; null removes a default, as in Helm."""
    return {
        # A nested map needs the call too: Helm removes nulls at every level.
        name: merged({}, value) if isinstance(value, dict) else value
        for name, value in overlaid(defaults, given).items()
        if value is not None
    }


def dotted(path: Path) -> str:
    """A path as `helm --set` takes it."""
    # A key may contain dots, as annotations do; helm --set expects them escaped.
    return ".".join(key.replace(".", r"\.") for key in path)


def _check_map(name: str, value: Any) -> None:  # noqa: ANN401
    if value is not None and not isinstance(value, dict):
        raise ValuesError(f"{name}: must be a map")


def _at(values: Any, path: Path) -> Any:  # noqa: ANN401
    for name in path:
        if not isinstance(values, Mapping):
            return None
        values = values.get(name)
    return values


def _leaves(values: Object, above: Path = ()) -> Iterator[Path]:
    """Paths of all values that are not maps, and of empty maps."""
    for name, value in values.items():
        path = (*above, str(name))
        # An empty map is a value of its own: it can replace a default of the chart.
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path
