"""`kubectl tokenplace render`: the children of a relay, from a file and without a cluster."""

import sys
from ipaddress import ip_address
from typing import Annotated

import typer

from tokenplace_operator.cli.connection import Namespace, Output
from tokenplace_operator.cli.documents import parse_file, read_relays, to_yaml
from tokenplace_operator.cli.exits import CliError, Exit, finish
from tokenplace_operator.cli.output import Format, show_json
from tokenplace_operator.desired import build
from tokenplace_operator.desired.metadata import APPLIED_HASH
from tokenplace_operator.facts import Facts
from tokenplace_operator.kinds import Object

UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"


def render(
    *,
    filename: Annotated[
        str,
        typer.Option("--filename", "-f", help="A file with TokenplaceRelays; - is standard input."),
    ] = "-",
    gpu_address: Annotated[
        list[str] | None,
        typer.Option(help="An address that gpu.host resolves to; may be repeated."),
    ] = None,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
) -> None:
    """Print the children that the operator would make, as YAML. Asks no cluster."""
    finish(_render(filename, tuple(gpu_address or ()), namespace or "default", output))


async def _render(
    filename: str, addresses: tuple[str, ...], namespace: str, output: Format
) -> Exit:
    facts = facts_of(addresses)
    children = [
        child for relay in read_relays(filename, namespace) for child in children_of(relay, facts)
    ]
    if output is Format.JSON:
        show_json({"apiVersion": "v1", "kind": "List", "items": children})
    else:
        sys.stdout.write(to_yaml(*children))
    return Exit.YES


def facts_of(addresses: tuple[str, ...]) -> Facts:
    """What DNS would tell, given by hand."""
    for address in addresses:
        try:
            ip_address(address)
        except ValueError:
            text = f"--gpu-address: {address!r} is no IPv4 or IPv6 address"
            raise CliError(Exit.USAGE, text) from None
    return Facts(gpu_addresses=tuple(sorted(set(addresses))))


def children_of(relay: Object, facts: Facts) -> list[Object]:
    """The children in the order to apply them.

    Only a relay that the cluster knows has a uid to own them by. Without one, owner and hash are
    left out: an owner that does not exist would get the children collected as garbage.
    """
    known = bool(relay["metadata"].get("uid"))
    given = {**relay, "metadata": {"uid": UNKNOWN_UID, **relay["metadata"]}}
    children = build(parse_file(given), facts)
    return children if known else [_without_owner(child) for child in children]


def _without_owner(child: Object) -> Object:
    metadata = {key: v for key, v in child["metadata"].items() if key != "ownerReferences"}
    kept = {key: v for key, v in metadata.pop("annotations", {}).items() if key != APPLIED_HASH}
    if kept:
        metadata["annotations"] = kept
    return {**child, "metadata": metadata}
