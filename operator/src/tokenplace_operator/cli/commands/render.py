"""`kubectl tokenplace render`: the child resources of a relay in a file, without a cluster."""

from typing import Annotated

import typer

from tokenplace_operator.api.addresses import parse as parse_address
from tokenplace_operator.api.kinds import OPTIONAL_KINDS, Object
from tokenplace_operator.cli.exit_codes import CliError, Exit, run_and_exit
from tokenplace_operator.cli.options import Namespace, Output
from tokenplace_operator.cli.output import Format, show_json, write
from tokenplace_operator.cli.relay_files import parse_file, read_relays
from tokenplace_operator.cli.yaml_io import to_yaml
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.child import APPLIED_HASH
from tokenplace_operator.observe.facts import Facts

UNKNOWN_UID = "00000000-0000-0000-0000-000000000000"
OPTIONAL = {kind.kind: kind for kind in OPTIONAL_KINDS}


def render(
    *,
    filename: Annotated[
        str,
        typer.Option("--filename", "-f", help="A file with TokenplaceRelays; - is standard input."),
    ] = "-",
    gpu_address: Annotated[
        list[str] | None,
        typer.Option(help="An address that gpu.host resolves to; repeatable."),
    ] = None,
    nameserver: Annotated[
        list[str] | None,
        typer.Option(help="An address of the cluster's DNS; repeatable."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help=f"An API that the cluster lacks: {', '.join(OPTIONAL)}; repeatable."),
    ] = None,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
) -> None:
    """Print the child resources of a relay as YAML, without a cluster."""
    run_and_exit(
        _render(
            filename,
            namespace or "default",
            output,
            gpu_addresses=gpu_address or [],
            nameservers=nameserver or [],
            missing=set(without or ()),
        )
    )


async def _render(
    filename: str,
    namespace: str,
    output: Format,
    *,
    gpu_addresses: list[str],
    nameservers: list[str],
    missing: set[str],
) -> Exit:
    facts = assumed_facts(gpu_addresses, nameservers, missing)
    children = [
        child for relay in read_relays(filename, namespace) for child in children_of(relay, facts)
    ]
    if output is Format.JSON:
        show_json({"apiVersion": "v1", "kind": "List", "items": children})
    else:
        write(to_yaml(*children))
    return Exit.OK


def assumed_facts(gpu_addresses: list[str], nameservers: list[str], missing: set[str]) -> Facts:
    """Facts of a cluster, from options; CliError for an invalid address or an unknown kind.

    missing: optional kinds that the cluster does not serve.
    """
    unknown = missing - OPTIONAL.keys()
    if unknown:
        text = f"--without: {', '.join(sorted(unknown))} must be one of {', '.join(OPTIONAL)}"
        raise CliError(Exit.USAGE, text)
    return Facts(
        gpu_addresses=_addresses("--gpu-address", gpu_addresses),
        nameservers=_addresses("--nameserver", nameservers),
        # All optional APIs count as present: the output then shows everything that the spec
        # enables.
        apis=frozenset(kind for name, kind in OPTIONAL.items() if name not in missing),
    )


def _addresses(flag: str, addresses: list[str]) -> tuple[str, ...]:
    for address in addresses:
        if parse_address(address) is None:
            raise CliError(Exit.USAGE, f"{flag}: {address!r} is not an IPv4 or IPv6 address")
    return tuple(sorted(set(addresses)))


def children_of(relay: Object, facts: Facts) -> list[Object]:
    """The child resources of a relay, in the order to apply them."""
    has_uid = bool(relay["metadata"].get("uid"))
    with_uid = {**relay, "metadata": {"uid": UNKNOWN_UID, **relay["metadata"]}}
    children = build(parse_file(with_uid), facts)
    # The garbage collector would delete children with an owner that does not exist.
    return children if has_uid else [_without_owner(child) for child in children]


def _without_owner(child: Object) -> Object:
    metadata = {key: v for key, v in child["metadata"].items() if key != "ownerReferences"}
    # Without the owner the hash no longer fits, and the operator would see drift in it.
    kept = {key: v for key, v in metadata.pop("annotations", {}).items() if key != APPLIED_HASH}
    if kept:
        metadata["annotations"] = kept
    return {**child, "metadata": metadata}
