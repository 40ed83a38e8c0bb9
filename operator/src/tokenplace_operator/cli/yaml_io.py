"""YAML as kubectl reads it: of all that YAML can say, only what JSON has."""

import re
from typing import Any

import yaml

MAX_DEPTH = 64
MAX_VALUES = 500_000
"""With what aliases repeat: a few lines of them can stand for more than a memory holds."""

_PLAIN = {"null", "bool", "int", "float", "str", "seq", "map", "merge"}
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z")
_DECIMAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")

_QUOTED = re.compile(r"(, but found)? '.*'", re.DOTALL)
"""What PyYAML quotes of the text."""


class _Loader(yaml.SafeLoader):
    """Keys are text, and dates and 12:30 stay text; a key that is there twice is an error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (PyYAML's signature)
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is no text", problem_mark=key.start_mark)
            if key.value in seen:
                text = f"the key {key.value} is there twice"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
            seen.add(key.value)
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
        return node


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, rule) for tag, rule in rules if tag.removeprefix(_TAG) in _PLAIN - {"int", "float"}
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _DECIMAL, list("-+0123456789."))
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in _PLAIN
}


def documents(text: str) -> list[Any]:
    """Each document as decoded JSON; ValueError says what is wrong and in which line.

    The message quotes no value: the text may hold a secret.
    """
    try:
        found = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ValueError(_complaint(error)) from None
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels") from None
    except ValueError:
        raise ValueError("a number that cannot be read") from None
    _check_size(found)
    return found


def _complaint(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return "a character that YAML does not have"
    mark = error.problem_mark or error.context_mark
    problem = _QUOTED.sub("", error.problem or "it cannot be read")
    return f"{problem} in line {mark.line + 1}" if mark is not None else problem


def _check_size(found: list[Any]) -> None:
    """ValueError for what is too deep or too much once aliases are written out."""
    left = MAX_VALUES
    waiting: list[tuple[Any, int]] = [(found, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        if left < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
        if isinstance(value, dict):
            waiting += [(one, depth + 1) for one in value.values()]
        elif isinstance(value, list):
            waiting += [(one, depth + 1) for one in value]
