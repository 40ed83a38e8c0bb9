"""`kubectl tokenplace diff`: what the operator would change, by a server-side dry run."""

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
from tokenplace_operator.cli.connection import Cluster, connected
from tokenplace_operator.cli.exit_codes import Exit
from tokenplace_operator.cli.options import Target, cluster_command, optional_relay_name
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
from tokenplace_operator.cli.relay_files import parse_file, read_relay
from tokenplace_operator.cli.snapshot import Snapshot, read_snapshot
from tokenplace_operator.cli.yaml_io import to_yaml
from tokenplace_operator.desired.build import build
from tokenplace_operator.desired.network_policy import NODE_LOCAL_DNS
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import Forbidden, Invalid, NotFound
from tokenplace_operator.observe.facts import Facts

_RBAC_DENIED = re.compile(r'User "[^"]*" cannot [a-z]+ resource')
# The API server sets these, so a difference in them is no change by the operator.
_SERVER_FIELDS = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
)


@dataclass(frozen=True, slots=True)
class Change:
    """The change that the operator would make to one child resource.

    action: none, create, change, delete, blocked, waiting, rejected or forbidden.
    note: the reason, for the last four. diff: a unified diff of YAML.
    """

    kind: str
    name: str
    action: str
    note: str = ""
    diff: str = ""


@cluster_command
async def diff(
    target: Target,
    output: Format,
    *,
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a TokenplaceRelay in the cluster.",
            show_default=False,
            callback=optional_relay_name,
        ),
    ] = "",
    filename: Annotated[
        str,
        typer.Option(
            "--filename",
            "-f",
            help="Use the relay in this file instead; - is standard input.",
            show_default=False,
        ),
    ] = "",
) -> Exit:
    """Show what the operator would change. Exit code 0: nothing, 1: something, above: an error."""
    if bool(name) == bool(filename):
        raise typer.BadParameter("give either the name of a relay or -f FILE")
    async with connected(target) as cluster:
        changes = await _changes(cluster, name, filename)
    different = any(change.action != "none" for change in changes)
    if output is Format.JSON:
        show_json({"different": different, "children": [asdict(change) for change in changes]})
    else:
        show(text(changes))
    # Forbidden is no answer to the question, so it must not look like a difference.
    if any(change.action == "forbidden" for change in changes):
        return Exit.FORBIDDEN
    return Exit.NO if different else Exit.OK


async def _changes(cluster: Cluster, name: str, filename: str) -> list[Change]:
    kube = cluster.kube
    if not filename:
        snapshot = await read_snapshot(kube, cluster.namespace, name)
        return await compare(kube, parse(snapshot.relay), snapshot)
    obj = read_relay(filename, cluster.namespace, "diff")
    metadata = obj["metadata"]
    try:
        snapshot = await read_snapshot(kube, metadata["namespace"], metadata["name"])
    except NotFound as error:
        # The relay need not exist yet; a missing CRD is an error, because then nothing can be
        # compared.
        if not error.knows_kind:
            raise
        snapshot = Snapshot({**obj, "metadata": {**metadata, "uid": UNKNOWN_UID}})
    # With the live uid, the children of the file have the same owner as the live ones.
    uid = snapshot.relay["metadata"]["uid"]
    relay = parse_file({**obj, "metadata": {**metadata, "uid": uid}})
    return await compare(kube, relay, snapshot)


async def compare(kube: Kube, relay: Relay, snapshot: Snapshot) -> list[Change]:
    """Plan the changes as the operator does, and dry-run each apply on the API server."""
    desired = build(relay, facts_of(snapshot))
    live = {}
    # Read one by one and not from the snapshot: a name may belong to an object without the relay's
    # labels.
    for child in desired:
        kind, key = identity(child)
        try:
            live[kind, key] = await kube.get(kind, *key)
        except NotFound:  # It will be created.
            continue
    todo = plan(desired, live, snapshot.children, relay.uid)
    blocked = {(conflict.kind, conflict.name): conflict.by for conflict in todo.blocked}
    waiting = {identity(child) for child in todo.waiting}
    changes = []
    for child in desired:
        names = (child["kind"], child["metadata"]["name"])
        if names in blocked:
            changes.append(Change(*names, "blocked", f"the name belongs to {blocked[names]}"))
        elif identity(child) in waiting:
            note = "a child resource that comes before it is still being deleted"
            changes.append(Change(*names, "waiting", note))
        else:
            changes.append(await _dry_run(kube, child, live.get(identity(child))))
    changes += [
        change(child["kind"], child["metadata"]["name"], child, None) for child in todo.prune
    ]
    return changes


async def _dry_run(kube: Kube, desired: Object, live: Object | None) -> Change:
    names = (desired["kind"], desired["metadata"]["name"])
    try:
        # Forced, because the operator takes fields back after it has reported the conflict.
        result = await kube.apply(desired, force=True, dry_run=True)
    except Invalid as error:
        return Change(*names, "rejected", error.message)
    except Forbidden as error:
        # 401 means that the login is bad, which is no property of this child resource.
        if error.code == 401:
            raise
        # Quotas and admission policies answer 403 too; those reject the operator's write as well.
        action = "forbidden" if _RBAC_DENIED.search(error.message) else "rejected"
        return Change(*names, action, error.message)
    return change(*names, live, result)


def facts_of(snapshot: Snapshot) -> Facts:
    """The facts of the operator's last reconcile, from the relay's status and live children."""
    # The status, because a workstation may resolve gpu.host to other addresses than the cluster.
    gpu = pick(snapshot.relay, "status", "gpu", default={})
    return Facts(
        gpu_addresses=tuple(gpu.get("addresses", ())),
        gpu_retiring=tuple(gpu.get("retiring", ())),
        apis=snapshot.apis,
        nameservers=_nameservers(snapshot),
    )


def _nameservers(snapshot: Snapshot) -> tuple[str, ...]:
    """The nameservers in the live NetworkPolicy; only the operator's pod can look them up."""
    policies = [child for child in snapshot.children if child["kind"] == NETWORK_POLICY.kind]
    rules = pick(policies[0], "spec", "egress", default=[]) if policies else []
    # The builder puts the rule for DNS first.
    blocks = [pick(peer, "ipBlock", "cidr") for peer in rules[0].get("to", [])] if rules else []
    return tuple(block.partition("/")[0] for block in blocks if block not in {"", NODE_LOCAL_DNS})


def change(kind: str, name: str, live: Object | None, result: Object | None) -> Change:
    """The change from a live object to the result of a dry run; None: the object is absent."""
    before, after = (_comparable(obj) if obj is not None else "" for obj in (live, result))
    if before == after:
        return Change(kind, name, "none")
    lines = difflib.unified_diff(
        before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"live/{kind}/{name}",
        f"desired/{kind}/{name}",
    )
    action = "create" if live is None else "delete" if result is None else "change"
    return Change(kind, name, action, diff="".join(lines))


def _comparable(obj: Object) -> str:
    """YAML of an object with sorted keys, without fields that only the API server writes."""
    metadata = {key: v for key, v in obj["metadata"].items() if key not in _SERVER_FIELDS}
    kept = {key: value for key, value in obj.items() if key != "status"}
    return to_yaml(_sorted({**kept, "metadata": metadata}))


def _sorted(value: Any) -> Any:  # noqa: ANN401 (JSON of any shape)
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def text(changes: list[Change]) -> list[Line]:
    """The unified diffs, and why a child resource cannot be applied."""
    lines = []
    for change in changes:
        if change.note:
            lines.append(
                plain(f"{change.kind}/{change.name} is {change.action}: {change.note}", BAD)
            )
        lines += [_coloured(line) for line in change.diff.splitlines()]
    if not lines:
        lines.append(plain(f"No difference in {counted(len(changes), 'child resource')}."))
    return lines


def _coloured(line: str) -> Line:
    styles = {"+++": BOLD, "---": BOLD, "@@ ": "cyan"}
    by_first = {"+": GOOD, "-": BAD}
    return plain(line, styles.get(line[:3], by_first.get(line[:1], "")))
