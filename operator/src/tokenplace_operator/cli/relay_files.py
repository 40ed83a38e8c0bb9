"""TokenplaceRelays from files, and objects as YAML."""

import sys
from pathlib import Path
from typing import Any

import yaml

from tokenplace_operator.api.kinds import RELAY, Object, is_label
from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.names import RULE
from tokenplace_operator.cli.schema import refuse_wrong_shapes
from tokenplace_operator.cli.yaml_text import documents

MAX_BYTES = 4 * 2**20


class _Dumper(yaml.SafeDumper):
    """Writes shared parts in full each time, as a reader wants them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 (PyYAML's signature)
        return True


def to_yaml(*objects: object) -> str:
    """One document an object, in the order of their fields."""
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def read_relays(path: str, namespace: str) -> list[Object]:
    """All TokenplaceRelays of a file, or of standard input for `-`; other kinds are left out.

    A relay without a namespace gets `namespace`. Fields that are null are left out, as the API
    server does. CliError says what is wrong with the file.
    """
    name = "standard input" if path == "-" else path
    try:
        found = documents(read_text(path))
    except ValueError as error:
        raise CliError(Exit.USAGE, f"{name} is no YAML: {error}") from None
    objects = [item for one in found for item in _items(one, name)]
    relays = [one for one in objects if one.get("kind") == RELAY.kind]
    if not relays:
        raise CliError(Exit.USAGE, f"{name} holds no {RELAY.kind}")
    return [_placed(_without_nulls(one), namespace, name) for one in relays]


def _items(document: object, file: str) -> list[Object]:
    """The objects of a document: those of a List, or itself."""
    if not isinstance(document, dict):
        return []
    if not str(document.get("kind")).endswith("List"):
        return [document]
    items = document.get("items") or []
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise CliError(
            Exit.USAGE, f"{file}: items of a {document['kind']}: must be a list of objects"
        )
    return items


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value


def read_relay(path: str, namespace: str, command: str) -> Object:
    """The one relay of a file, for a command that takes no more; CliError when there are."""
    relays = read_relays(path, namespace)
    if len(relays) != 1:
        raise CliError(Exit.USAGE, f"{path} holds {len(relays)} relays, and {command} takes one")
    return relays[0]


def read_text(path: str) -> str:
    """What a file holds, or standard input for `-`; CliError says why it cannot be read."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CliError(Exit.USAGE, f"{path} is larger than {MAX_BYTES} bytes")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CliError(Exit.USAGE, f"cannot read {path}: {reason}") from None


def parse_file(obj: Object) -> Relay:
    """Parse a relay that a person wrote; CliError names fields and rules."""
    who = obj["metadata"]["name"]
    try:
        refuse_wrong_shapes(obj)
        return parse(obj)
    except SpecError as error:
        raise CliError(Exit.USAGE, f"{who}: {error}") from None


def _placed(relay: Object, namespace: str, file: str) -> Object:
    if relay.get("apiVersion") != RELAY.api_version:
        text = f"{file}: apiVersion is {relay.get('apiVersion')}, not {RELAY.api_version}"
        raise CliError(Exit.USAGE, text)
    metadata = relay.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise CliError(Exit.USAGE, f"{file}: a {RELAY.kind} without metadata.name")
    given = metadata.get("namespace", namespace)
    if not isinstance(given, str) or not is_label(given):
        text = f"{file}: metadata.namespace: must be {RULE}"
        raise CliError(Exit.USAGE, text)
    return {**relay, "metadata": {"namespace": given, **metadata}}
