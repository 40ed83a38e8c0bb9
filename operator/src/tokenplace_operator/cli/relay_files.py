"""TokenplaceRelays in YAML files: reading, defaults of metadata, and validation."""

import sys
from pathlib import Path
from typing import Any

from tokenplace_operator.api.kinds import RELAY, Object, is_label
from tokenplace_operator.api.spec.reader import SpecError
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.options import NAME_RULE
from tokenplace_operator.cli.schema import check_schema
from tokenplace_operator.cli.yaml_io import load_documents

MAX_BYTES = 4 * 2**20
"""Largest file that is read."""


def read_relays(path: str, namespace: str) -> list[Object]:
    """All TokenplaceRelays in a file, or in standard input for `-`; ignores other kinds.

    A relay without a namespace gets `namespace`. Null fields are removed, as the API server does.
    Raises CliError when the file cannot be read or holds no TokenplaceRelay.
    """
    file = "standard input" if path == "-" else path
    try:
        parsed = load_documents(read_text(path))
    except ValueError as error:
        raise CliError(Exit.USAGE, f"{file} is not valid YAML: {error}") from None
    objects = [item for document in parsed for item in _items(document, file)]
    relays = [item for item in objects if item.get("kind") == RELAY.kind]
    if not relays:
        raise CliError(Exit.USAGE, f"{file} contains no {RELAY.kind}")
    return [_with_namespace(_without_nulls(relay), namespace, file) for relay in relays]


def _items(document: object, file: str) -> list[Object]:
    """The objects in a document: the items of a List, or the document itself."""
    if not isinstance(document, dict):
        return []
    # kubectl get -o yaml prints a List when it returns several objects.
    if not str(document.get("kind")).endswith("List"):
        return [document]
    items = document.get("items") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise CliError(
            Exit.USAGE, f"{file}: items of a {document['kind']}: must be a list of objects"
        )
    return items


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def read_relay(path: str, namespace: str, command: str) -> Object:
    """The only relay in a file; CliError, which names the command, when there are several."""
    relays = read_relays(path, namespace)
    if len(relays) != 1:
        text = f"{path} contains {len(relays)} TokenplaceRelays; {command} takes one"
        raise CliError(Exit.USAGE, text)
    return relays[0]


def read_text(path: str) -> str:
    """The content of a file, or standard input for `-`; CliError when it cannot be read."""
    try:
        if path == "-":
            # One byte more than the limit shows that there is more, without reading all of it.
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
    """Validate and parse a relay from a file; CliError with the fields and rules it breaks."""
    name = obj["metadata"]["name"]
    try:
        # The schema first: it names wrong types and unknown fields, which parse does not see.
        check_schema(obj)
        return parse(obj)
    except SpecError as error:
        raise CliError(Exit.USAGE, f"{name}: {error}") from None


def _with_namespace(relay: Object, namespace: str, file: str) -> Object:
    """The relay with its namespace filled in; CliError when its identity is invalid."""
    if relay.get("apiVersion") != RELAY.api_version:
        text = f"{file}: apiVersion is {relay.get('apiVersion')}, must be {RELAY.api_version}"
        raise CliError(Exit.USAGE, text)
    metadata = relay.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise CliError(Exit.USAGE, f"{file}: a {RELAY.kind} without metadata.name")
    namespace = metadata.get("namespace", namespace)
    if not isinstance(namespace, str) or not is_label(namespace):
        raise CliError(Exit.USAGE, f"{file}: metadata.namespace: must be {NAME_RULE}")
    return {**relay, "metadata": {"namespace": namespace, **metadata}}
