"""YAML in and out. Reading accepts what kubectl accepts: only values that JSON also has."""

import re
from typing import Any

import yaml

MAX_DEPTH = 64
"""Levels of nesting in a document."""
MAX_VALUES = 500_000
"""Values of all documents with aliases expanded: a few lines of aliases can exhaust memory."""

_JSON_TAGS = {"null", "bool", "int", "float", "str", "seq", "map", "merge"}
_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z")
_DECIMAL = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\Z")

_QUOTED = re.compile(r"(, but found)? '.*'", re.DOTALL)
"""The part of PyYAML's messages that quotes the document."""


class _Loader(yaml.SafeLoader):
    """Keeps keys, dates and 12:30 as text, and rejects duplicate keys."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (PyYAML's signature)
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = "a key is not a string"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            # PyYAML would keep the last of two equal keys without a message.
            if key.value in seen:
                problem = f"duplicate key {key.value}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
            # JSON has only strings as keys, so `on` and `1` are texts here.
            if key.tag != f"{_TAG}merge":
                key.tag = f"{_TAG}str"
        return node


# YAML 1.1 of PyYAML also has dates, base-60 numbers and binary; kubectl has none of them.
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, rule)
        for tag, rule in rules
        if tag.removeprefix(_TAG) in _JSON_TAGS - {"int", "float"}
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _DECIMAL, list("-+0123456789."))
# Without the other constructors, tags such as !!python or !!binary are errors.
_Loader.yaml_constructors = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.removeprefix(_TAG) in _JSON_TAGS
}


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 (PyYAML's signature)
        # Shared parts are written in full: aliases are hard to read.
        return True


def load_documents(text: str) -> list[Any]:
    """Parse each YAML document; ValueError with the problem and its line.

    The message quotes no value, because the text may hold a secret.
    """
    try:
        parsed = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ValueError(_problem(error)) from None
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels") from None
    except ValueError:
        raise ValueError("a number cannot be parsed") from None
    _check_size(parsed)
    return parsed


def to_yaml(*objects: object) -> str:
    """YAML with one document for each object; keeps the order of keys."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def _problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return "a character that YAML does not allow"
    mark = error.problem_mark or error.context_mark
    problem = _QUOTED.sub("", error.problem or "syntax error")
    return f"{problem} in line {mark.line + 1}" if mark is not None else problem


def _check_size(parsed: list[Any]) -> None:
    """ValueError when the documents are too deep or too large with aliases expanded."""
    budget = MAX_VALUES
    # A stack and no recursion: the depth is what is being checked.
    pending: list[tuple[Any, int]] = [(parsed, 0)]
    while pending:
        value, depth = pending.pop()
        budget -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        if budget < 0:
            raise ValueError(f"more than {MAX_VALUES} values")
        if isinstance(value, dict):
            pending += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            pending += [(inner, depth + 1) for inner in value]
