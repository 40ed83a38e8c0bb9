"""TokenplaceRelays from files, and objects as YAML."""

import sys
from pathlib import Path
from typing import Any

import yaml

from tokenplace_operator.api import Relay, SpecError, parse
from tokenplace_operator.cli.exits import CliError, Exit
from tokenplace_operator.kinds import RELAY, Object

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

    A relay without a namespace gets `namespace`. CliError says what is wrong with the file.
    """
    name = "standard input" if path == "-" else path
    try:
        found = [one for one in yaml.safe_load_all(read_text(path)) if isinstance(one, dict)]
    except yaml.YAMLError as error:
        text = " ".join(str(error).split())
        raise CliError(Exit.USAGE, f"{name} is no YAML: {text}") from None
    found = [item for one in found for item in one.get("items", [one])]
    relays = [one for one in found if one.get("kind") == RELAY.kind]
    if not relays:
        raise CliError(Exit.USAGE, f"{name} holds no {RELAY.kind}")
    return [_placed(one, namespace, name) for one in relays]


def read_relay(path: str, namespace: str, command: str) -> Object:
    """The one relay of a file, for a command that takes no more; CliError when there are."""
    relays = read_relays(path, namespace)
    if len(relays) != 1:
        raise CliError(Exit.USAGE, f"{path} holds {len(relays)} relays; {command} takes one")
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
    try:
        return parse(obj)
    except SpecError as error:
        who = obj["metadata"]["name"]
        raise CliError(Exit.USAGE, f"{who}: {error}") from None


def _placed(relay: Object, namespace: str, file: str) -> Object:
    if relay.get("apiVersion") != RELAY.api_version:
        text = f"{file}: apiVersion is {relay.get('apiVersion')}, not {RELAY.api_version}"
        raise CliError(Exit.USAGE, text)
    metadata = relay.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise CliError(Exit.USAGE, f"{file}: a {RELAY.kind} without metadata.name")
    return {**relay, "metadata": {"namespace": namespace, **metadata}}
