"""The shapes of a TokenplaceRelay, checked without a cluster: types, bounds, names of fields.

Rules between fields are those of `api.parse`; the rest only the API server knows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.reader import SpecError

MAX_TOLD = 8
"""Problems of one file that are told at once: it stays a line that can be read."""

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "object": ((dict,), "an object"),
    "array": ((list,), "a list"),
    "string": ((str,), "a string"),
    "boolean": ((bool,), "true or false"),
    "integer": ((int,), "an integer"),
    "integer or string": ((int, str), "an integer or a string"),
}
_TEXTS = {"type": "object", "values": {"type": "string"}}
_METADATA = {
    "type": "object",
    "properties": {
        "name": {
            "type": "string",
            "maxLength": 63,
            "rules": [
                {
                    "pattern": r"^[a-z]([-a-z0-9]*[a-z0-9])?\Z",
                    "matches": True,
                    "message": "must be lower-case letters, digits and -, a letter first",
                }
            ],
        },
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}


def refuse_wrong_shapes(relay: Object) -> None:
    """SpecError when a field is unknown, has a wrong type, or is beyond its bounds."""
    metadata = relay["metadata"]
    known = {name: metadata[name] for name in _METADATA["properties"] if name in metadata}
    problems = [*_problems(known, _METADATA, "metadata")]
    problems += _problems(relay.get("spec", {}), _spec(), "spec")
    if len(problems) > MAX_TOLD:
        problems[MAX_TOLD:] = [f"and {len(problems) - MAX_TOLD} more"]
    if problems:
        raise SpecError(tuple(problems))


@cache
def _spec() -> Object:
    text = files("tokenplace_operator.cli").joinpath("schema.json").read_text()
    found: Object = json.loads(text)
    return found


def _problems(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:  # noqa: ANN401
    kinds, words = _TYPES[schema["type"]]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        quote = ", in quotes" if kinds == (str,) and isinstance(value, int | float) else ""
        yield f"{path}: must be {words}{quote}"
        return
    if isinstance(value, dict):
        yield from _in_object(value, schema, path)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, path, ("minItems", "maxItems"), " items")
        for position, one in enumerate(value):
            yield from _problems(one, schema["items"], f"{path}[{position}]")
    elif isinstance(value, str):
        yield from _in_text(value, schema, path)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from _bounds(value, schema, path, ("minimum", "maximum"), "")


def _in_object(value: Object, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    fields = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: required"
    yield from _bounds(len(value), schema, path, ("", "maxProperties"), " entries")
    for name, one in value.items():
        inner = fields.get(name, schema.get("values"))
        if inner is None:
            yield f"{path}.{name}: there is no such field"
        else:
            yield from _problems(
                one, inner, f"{path}.{name}" if name in fields else f"{path}[{name}]"
            )


def _in_text(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if value not in schema.get("enum", [value]):
        yield f"{path}: must be one of {', '.join(schema['enum'])}"
        return
    before = [*_bounds(len(value), schema, path, ("minLength", "maxLength"), " characters")]
    yield from before
    # A pattern may take its time over a text that is too long anyway.
    if before:
        return
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: must match {schema['pattern'].replace(chr(92) + 'Z', '$')}"
    for rule in schema.get("rules", ()):
        if bool(re.search(rule["pattern"], value)) is not rule["matches"]:
            yield f"{path}: {rule['message']}"


def _bounds(
    size: float, schema: Mapping[str, Any], path: str, names: tuple[str, str], unit: str
) -> Iterator[str]:
    low, high = (schema.get(name) for name in names)
    if low is not None and size < low:
        yield f"{path}: must be at least {low}{unit}"
    elif high is not None and size > high:
        yield f"{path}: must be at most {high}{unit}"
