"""`kubectl tokenplace render`: the children of a relay, from a file and without a cluster."""

from dataclasses import dataclass
from typing import Annotated

import typer

from tokenplace_operator.api.addresses import parse as parse_address
from tokenplace_operator.api.kinds import OPTIONAL_KINDS, Object
from tokenplace_operator.cli.connection import Namespace, Output
from tokenplace_operator.cli.documents import parse_file, read_relays, to_yaml
from tokenplace_operator.cli.exit_codes import CliError, Exit, finish
from tokenplace_operator.cli.output import Format, show_json, write
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.child import APPLIED_HASH
from tokenplace_operator.observe.facts import Facts

UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"
OPTIONAL = {kind.kind: kind for kind in OPTIONAL_KINDS}


@dataclass(frozen=True, slots=True)
class Given:
    """What a cluster would tell: addresses, and the APIs that it lacks by kind."""

    gpu_addresses: tuple[str, ...]
    nameservers: tuple[str, ...]
    without: tuple[str, ...]


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
    nameserver: Annotated[
        list[str] | None,
        typer.Option(help="An address of the cluster's DNS; may be repeated."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help=f"An API that the cluster lacks: {', '.join(OPTIONAL)}; repeatable."),
    ] = None,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
) -> None:
    """Print the children that the operator would make, as YAML. Asks no cluster."""
    finish(
        _render(
            filename,
            Given(tuple(gpu_address or ()), tuple(nameserver or ()), tuple(without or ())),
            namespace or "default",
            output,
        )
    )


async def _render(filename: str, given: Given, namespace: str, output: Format) -> Exit:
    facts = facts_of(given)
    children = [
        child for relay in read_relays(filename, namespace) for child in children_of(relay, facts)
    ]
    if output is Format.JSON:
        show_json({"apiVersion": "v1", "kind": "List", "items": children})
    else:
        write(to_yaml(*children))
    return Exit.YES


def facts_of(given: Given) -> Facts:
    """The facts of a cluster as they are given by hand."""
    unknown = set(given.without) - OPTIONAL.keys()
    if unknown:
        text = f"--without: {', '.join(sorted(unknown))} is none of {', '.join(OPTIONAL)}"
        raise CliError(Exit.USAGE, text)
    return Facts(
        gpu_addresses=_addresses("--gpu-address", given.gpu_addresses),
        nameservers=_addresses("--nameserver", given.nameservers),
        apis=frozenset(kind for name, kind in OPTIONAL.items() if name not in given.without),
    )


def _addresses(flag: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    for address in addresses:
        if parse_address(address) is None:
            text = f"{flag}: {address!r} is no IPv4 or IPv6 address"
            raise CliError(Exit.USAGE, text)
    return tuple(sorted(set(addresses)))


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
