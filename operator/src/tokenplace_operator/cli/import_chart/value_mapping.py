"""What becomes of each Helm value: the spec that grows from them, and an entry for every one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tokenplace_operator.api.kinds import Object

Path = tuple[str, ...]

EITHER = {"env"}
"""Values that are a map or a list."""


class Outcome(StrEnum):
    """What became of a value."""

    CARRIED = "carried over"
    CHANGED = "changed"
    LEFT = "not carried over"


@dataclass(frozen=True, slots=True)
class Entry:
    """One value by its dotted path, the field of the spec that says it now, and why or what to do.

    Entries never hold a value that could be secret.
    """

    outcome: Outcome
    value: str
    field: str
    note: str = ""


class ValuesError(Exception):
    """A value has a shape that no chart could render; the message names it and the rule."""


class Ledger:
    """Reads the values of one release, and keeps what became of them.

    given: what a person wrote; defaults: what the chart adds, as Helm merges the two.
    """

    def __init__(self, given: Object, defaults: Object) -> None:
        for name, default in defaults.items():
            if isinstance(default, dict) and name not in EITHER:
                _check_map(name, given.get(name))
        self._given = {name: value for name, value in given.items() if name in defaults}
        self._defaults = defaults
        self._values = merged(defaults, self._given)
        self.spec: Object = {}
        self.entries: list[Entry] = []
        self._told: list[Path] = []
        for name in sorted(given.keys() - defaults.keys()):
            self.leave((name,), "The chart has no such value; Helm ignores it")

    def get(self, *path: str) -> Any:  # noqa: ANN401 (any value)
        """The value in effect; None when there is none."""
        return _at(self._values, path)

    def mapping(self, *path: str) -> Object:
        """The map in effect, empty when there is none."""
        found = self.get(*path)
        _check_map(dotted(path), found)
        return found or {}

    def objects(self, *path: str) -> list[Object]:
        """The list of maps in effect, empty when there is none."""
        found = self.get(*path) or []
        if isinstance(found, list) and all(isinstance(one, dict) for one in found):
            return found
        raise ValuesError(f"{dotted(path)}: must be a list of maps")

    def says(self, *path: str) -> bool:
        """Whether the person wrote something here that differs from the chart's default."""
        if not path:
            return bool(self._given)
        parent = _at(self._given, path[:-1])
        written = isinstance(parent, dict) and path[-1] in parent
        return written and self.get(*path) != _at(self._defaults, path)

    def carry(self, path: Path, field: str, value: Any, note: str = "") -> None:  # noqa: ANN401
        """The field says the same as the value did."""
        self._put(field, value)
        self._tell(Outcome.CARRIED, path, field, note)

    def change(self, path: Path, field: str, value: Any, why: str) -> None:  # noqa: ANN401
        """The field says something else; None: it is left to the operator."""
        self._put(field, value)
        self._tell(Outcome.CHANGED, path, field, why)

    def leave(self, path: Path, todo: str) -> None:
        """Nothing in the spec says it."""
        self._tell(Outcome.LEFT, path, "", todo)

    def copy(self, path: Path, field: str) -> None:
        """Carry over what the person wrote here, if anything."""
        if self.says(*path):
            self.carry(path, field, self.get(*path))

    def leave_the_rest(self, note: str) -> None:
        """An entry for whatever the person wrote that has none yet: nothing goes silently."""
        for path in list(_leaves(self._given)):
            value = _at(self._given, path)
            if value == _at(self._defaults, path) or self._is_told(path):
                continue
            if value is None:
                self._tell(Outcome.CARRIED, path, "", "The chart's default is taken away")
            else:
                self.leave(path, note)

    def _is_told(self, path: Path) -> bool:
        return any(path[: len(told)] == told or told[: len(path)] == path for told in self._told)

    def _tell(self, outcome: Outcome, path: Path, field: str, note: str) -> None:
        self._told.append(path)
        self.entries.append(Entry(outcome, dotted(path), field, note))

    def _put(self, field: str, value: Any) -> None:  # noqa: ANN401
        if value is None or not field.startswith("spec."):
            return
        *parents, last = field.split(".")[1:]
        place = self.spec
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value


def overlaid(first: Object, second: Object) -> Object:
    """Two files of values as Helm merges them: maps key by key, anything else as a whole."""
    both = dict(first)
    for name, value in second.items():
        old = both.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            both[name] = overlaid(old, value)
        else:
            both[name] = value
    return both


def merged(defaults: Object, given: Object) -> Object:
    """Values over the defaults of a chart, where null takes a default away."""
    return {
        name: merged({}, value) if isinstance(value, dict) else value
        for name, value in overlaid(defaults, given).items()
        if value is not None
    }


def dotted(path: Path) -> str:
    """A path as `helm --set` writes it."""
    return ".".join(one.replace(".", r"\.") for one in path)


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
    for name, value in values.items():
        path = (*above, str(name))
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path
