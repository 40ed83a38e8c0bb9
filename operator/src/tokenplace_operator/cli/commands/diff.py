"""`kubectl tokenplace diff`: what the operator would change, by a dry run on the server."""

import difflib
import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from tokenplace_operator.api.conditions import counted
from tokenplace_operator.api.kinds import NETWORK_POLICY, Object, identity
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.children.plan import plan
from tokenplace_operator.cli.commands.render import UNKNOWN_UID
from tokenplace_operator.cli.connection import (
    Cluster,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    connected,
)
from tokenplace_operator.cli.documents import parse_file, read_relay, to_yaml
from tokenplace_operator.cli.exit_codes import Exit, finish
from tokenplace_operator.cli.names import optional_relay_name
from tokenplace_operator.cli.observe import Snapshot, observe
from tokenplace_operator.cli.output import (
    BAD,
    BOLD,
    GOOD,
    Format,
    Line,
    pick,
    plain,
    show,
    show_json,
)
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.network_policy import NODE_LOCAL_DNS
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import Forbidden, Invalid, NotFound
from tokenplace_operator.observe.facts import Facts

_LACKS_RIGHT = re.compile(r'User "[^"]*" cannot [a-z]+ resource')
_SERVERS_OWN = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
)


@dataclass(frozen=True, slots=True)
class Change:
    """What would become of one child.

    action: none, create, change, delete, blocked, waiting, refused or forbidden; note says why
    for the last four. diff: unified, of YAML.
    """

    kind: str
    name: str
    action: str
    note: str = ""
    diff: str = ""


def diff(
    *,
    name: Annotated[
        str,
        typer.Argument(
            help="A TokenplaceRelay of the cluster.",
            show_default=False,
            callback=optional_relay_name,
        ),
    ] = "",
    filename: Annotated[
        str,
        typer.Option(
            "--filename",
            "-f",
            help="Compare with the relay in this file instead (- is standard input).",
            show_default=False,
        ),
    ] = "",
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Show what the operator would change. Exit code 0: nothing, 1: something, above: an error."""
    if bool(name) == bool(filename):
        raise typer.BadParameter("give either the name of a relay or -f FILE")
    finish(_diff(Where(context, namespace, kubeconfig), name, filename, output))


async def _diff(where: Where, name: str, filename: str, output: Format) -> Exit:
    async with connected(where) as cluster:
        changes = await _changes(cluster, name, filename)
    different = any(one.action != "none" for one in changes)
    if output is Format.JSON:
        show_json({"different": different, "children": [asdict(one) for one in changes]})
    else:
        show(text(changes))
    if any(one.action == "forbidden" for one in changes):
        return Exit.FORBIDDEN
    return Exit.NO if different else Exit.YES


async def _changes(cluster: Cluster, name: str, filename: str) -> list[Change]:
    kube = cluster.kube
    if not filename:
        live = await observe(kube, cluster.namespace, name)
        return await compare(kube, parse(live.relay), live)
    given = read_relay(filename, cluster.namespace, "diff")
    metadata = given["metadata"]
    try:
        known = await observe(kube, metadata["namespace"], metadata["name"])
    except NotFound as error:
        if not error.knows_kind:
            raise
        known = Snapshot({**given, "metadata": {**metadata, "uid": UNKNOWN_UID}})
    uid = known.relay["metadata"]["uid"]
    relay = parse_file({**given, "metadata": {**metadata, "uid": uid}})
    return await compare(kube, relay, known)


async def compare(kube: Kube, relay: Relay, known: Snapshot) -> list[Change]:
    """Plan as the operator does, and let the server say what each apply would make."""
    wanted = build(relay, facts_of(known))
    live = {}
    for one in wanted:
        kind, key = identity(one)
        try:
            live[kind, key] = await kube.get(kind, *key)
        except NotFound:
            continue
    todo = plan(wanted, live, known.children, relay.uid)
    blocked = {(one.kind, one.name): one.by for one in todo.blocked}
    waiting = {identity(one) for one in todo.waiting}
    changes = []
    for one in wanted:
        where = identity(one)
        names = (one["kind"], one["metadata"]["name"])
        if names in blocked:
            changes.append(Change(*names, "blocked", f"the name belongs to {blocked[names]}"))
        elif where in waiting:
            changes.append(Change(*names, "waiting", "an earlier one is still being deleted"))
        else:
            changes.append(await _try(kube, one, live.get(where)))
    changes += [change(one["kind"], one["metadata"]["name"], one, None) for one in todo.prune]
    return changes


async def _try(kube: Kube, wanted: Object, live: Object | None) -> Change:
    names = (wanted["kind"], wanted["metadata"]["name"])
    try:
        # Forced, as the operator does after it has reported a conflict.
        result = await kube.apply(wanted, force=True, dry_run=True)
    except Invalid as refusal:
        return Change(*names, "refused", refusal.message)
    except Forbidden as refusal:
        if refusal.code == 401:
            raise
        # A quota and an admission policy say 403 as well; only who asks lacks a right.
        action = "forbidden" if _LACKS_RIGHT.search(refusal.message) else "refused"
        return Change(*names, action, refusal.message)
    return change(*names, live, result)


def facts_of(known: Snapshot) -> Facts:
    """What the operator knew when it wrote last: from its status, and from what it wrote."""
    gpu = pick(known.relay, "status", "gpu", default={})
    return Facts(
        gpu_addresses=tuple(gpu.get("addresses", ())),
        gpu_retiring=tuple(gpu.get("retiring", ())),
        apis=known.apis,
        nameservers=_nameservers(known),
    )


def _nameservers(known: Snapshot) -> tuple[str, ...]:
    """Those that the live policy lets through: only the operator's pod can look them up."""
    policies = [one for one in known.children if one["kind"] == NETWORK_POLICY.kind]
    rules = pick(policies[0], "spec", "egress", default=[]) if policies else []
    # The first rule is the one for DNS.
    blocks = [pick(peer, "ipBlock", "cidr") for peer in rules[0].get("to", [])] if rules else []
    return tuple(one.partition("/")[0] for one in blocks if one not in {"", NODE_LOCAL_DNS})


def change(kind: str, name: str, live: Object | None, result: Object | None) -> Change:
    """The change from a live object to what the server would make of it; None: not there."""
    before, after = (_readable(one) if one is not None else "" for one in (live, result))
    if before == after:
        return Change(kind, name, "none")
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"live/{kind}/{name}",
        f"wanted/{kind}/{name}",
    )
    action = "create" if live is None else "delete" if result is None else "change"
    return Change(kind, name, action, diff="".join(lines))


def _readable(obj: Object) -> str:
    """The object without what only the server writes, with sorted keys, as YAML."""
    metadata = {key: v for key, v in obj["metadata"].items() if key not in _SERVERS_OWN}
    kept = {key: value for key, value in obj.items() if key != "status"}
    return to_yaml(_sorted({**kept, "metadata": metadata}))


def _sorted(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(one) for one in value]
    return value


def text(changes: list[Change]) -> list[Line]:
    """Unified diffs one after the other; what cannot be applied with its reason."""
    lines = []
    for one in changes:
        if one.note:
            lines.append(plain(f"{one.kind}/{one.name} is {one.action}: {one.note}", BAD))
        lines += [_coloured(line) for line in one.diff.splitlines()]
    if not lines:
        lines.append(plain(f"No difference in {counted(len(changes), 'child', 'children')}."))
    return lines


def _coloured(line: str) -> Line:
    styles = {"+++": BOLD, "---": BOLD, "@@ ": "cyan"}
    by_first = {"+": GOOD, "-": BAD}
    return plain(line, styles.get(line[:3], by_first.get(line[:1], "")))
