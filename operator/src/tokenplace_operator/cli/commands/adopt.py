"""`kubectl tokenplace adopt`: from a Helm release of upstream's charts to the operator."""

from collections.abc import Callable
from typing import Annotated

import typer

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cli.commands.render import UNKNOWN_UID
from tokenplace_operator.cli.confirm import confirm
from tokenplace_operator.cli.connection import (
    Cluster,
    Context,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    connected,
)
from tokenplace_operator.cli.documents import parse_file, read_relay
from tokenplace_operator.cli.exit_codes import Exit, finish
from tokenplace_operator.cli.handover.plan import HandoverPlan, plan
from tokenplace_operator.cli.handover.release import ReleaseObjects, look
from tokenplace_operator.cli.handover.run import Runner
from tokenplace_operator.cli.output import BAD, GOOD, Format, Line, plain, show, show_json


def adopt(
    *,
    filename: Annotated[
        str,
        typer.Option("--filename", "-f", help="A file with one TokenplaceRelay; - is stdin."),
    ],
    release: Annotated[
        str,
        typer.Option(help="Name of the Helm release.", show_default="by its objects"),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each wait.")] = 180,
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds for old pods to end what they began.")
    ] = 30,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Hand the objects of a Helm release over to the operator while they serve.

    Exit code 1: something forbids it, a wait took too long, or it was not wanted.
    """
    where = Where(context, namespace, kubeconfig)
    limits = (timeout, drain)
    finish(_adopt(where, filename, release, output, limits, sure=yes, dry_run=dry_run))


async def _adopt(
    where: Where,
    filename: str,
    release: str,
    output: Format,
    limits: tuple[float, float],
    *,
    sure: bool,
    dry_run: bool,
) -> Exit:
    async with connected(where) as cluster:
        obj, relay = _read(filename, cluster)
        found = await look(cluster.kube, relay, release)
        todo = plan(relay, found)
        if output is Format.TEXT:
            show(text(relay, found, todo))
        done: list[str] = []
        if not (todo.problems or todo.is_empty or dry_run):
            if not sure:
                confirm(f"Hand all this over to {relay.name}?")
            timeout, drain = limits
            await Runner(cluster.kube, todo, _teller(done, output), timeout, drain).carry_out(
                obj, relay
            )
        if output is Format.JSON:
            show_json({"release": found.release, "problems": list(todo.problems),
                       "steps": [] if todo.is_empty else todo.steps, "done": done})  # fmt: skip
    return Exit.NO if todo.problems else Exit.YES


def _read(filename: str, cluster: Cluster) -> tuple[Object, Relay]:
    obj = read_relay(filename, cluster.namespace, "adopt")
    return obj, parse_file({**obj, "metadata": {"uid": UNKNOWN_UID, **obj["metadata"]}})


def _teller(done: list[str], output: Format) -> Callable[[str], None]:
    def tell(what: str) -> None:
        done.append(what)
        if output is Format.TEXT:
            show([plain(f"  done: {what}", GOOD)])

    return tell


def text(relay: Relay, found: ReleaseObjects, todo: HandoverPlan) -> list[Line]:
    """The plan, or why there is none."""
    who = f"{relay.name} in namespace {relay.namespace}"
    if todo.is_empty:
        return [plain(f"{who}: nothing of upstream's charts has its names")]
    release = f"Helm release {found.release}" if found.release else "what runs there"
    lines = [plain(f"{who}, from {release}:")]
    lines += [plain(f"  {number}. {step}") for number, step in enumerate(todo.steps, 1)]
    lines += [plain(f"forbidden: {problem}", BAD) for problem in todo.problems]
    if found.release and not todo.problems:
        hint = f"kubectl -n {relay.namespace} delete secret -l owner=helm,name={found.release}"
        lines.append(plain(f"then let Helm forget the release, never uninstall it: {hint}"))
    return lines
