"""Validation of a TokenplaceRelay by the schema of its CRD, without a cluster.

Checks types, bounds, patterns and unknown fields. `api.parse` checks rules between fields; the
CRD's remaining rules are checked by the API server only.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.reader import SpecError

MAX_PROBLEMS = 8
"""Problems of one file that are listed, so that the message stays readable."""

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
                    "message": "must be lower-case letters, digits and -, and start with a letter",
                }
            ],
        },
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}


def check_schema(relay: Object) -> None:
    """SpecError when a field is unknown, has the wrong type, or is out of bounds."""
    metadata = relay["metadata"]
    checked = {name: metadata[name] for name in _METADATA["properties"] if name in metadata}
    problems = [*_problems(checked, _METADATA, "metadata")]
    problems += _problems(relay.get("spec", {}), _spec(), "spec")
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} more"]
    if problems:
        raise SpecError(tuple(problems))


@cache
def _spec() -> Object:
    text = files("tokenplace_operator.cli").joinpath("schema.json").read_text()
    schema: Object = json.loads(text)
    return schema


def _problems(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:  # noqa: ANN401
    types, description = _TYPES[schema["type"]]
    # In Python, True is an int; in JSON it is not an integer.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        # YAML reads an unquoted 1.10 as a number; the user needs quotes.
        quote = ", in quotes" if types == (str,) and isinstance(value, int | float) else ""
        yield f"{path}: must be {description}{quote}"
        return
    if isinstance(value, dict):
        yield from _in_object(value, schema, path)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, path, ("minItems", "maxItems"), " items")
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], f"{path}[{index}]")
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
    for name, field in value.items():
        field_schema = fields.get(name, schema.get("values"))
        if field_schema is None:
            yield f"{path}.{name}: unknown field"
        else:
            # Keys of a map are in brackets, because they may hold dots and slashes.
            field_path = f"{path}.{name}" if name in fields else f"{path}[{name}]"
            yield from _problems(field, field_schema, field_path)


def _in_text(value: str, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if value not in schema.get("enum", [value]):
        yield f"{path}: must be one of {', '.join(schema['enum'])}"
        return
    length_problems = [
        *_bounds(len(value), schema, path, ("minLength", "maxLength"), " characters")
    ]
    yield from length_problems
    # A pattern can take very long on a text without a bound.
    if length_problems:
        return
    if "pattern" in schema and not re.search(schema["pattern"], value):
        # The CRD has `$`; the generator wrote `\Z`, because Python's `$` allows a line break.
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
