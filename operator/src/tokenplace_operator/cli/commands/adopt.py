"""`kubectl tokenplace adopt`: hand the objects of a Helm release over to the operator."""

from collections.abc import Callable
from typing import Annotated

import typer

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.cli.commands.render import UNKNOWN_UID
from tokenplace_operator.cli.confirm import confirm
from tokenplace_operator.cli.connection import Cluster, connected
from tokenplace_operator.cli.exit_codes import Exit
from tokenplace_operator.cli.handover.plan import HandoverPlan, plan_handover
from tokenplace_operator.cli.handover.release import Release, read_release
from tokenplace_operator.cli.handover.run import Runner
from tokenplace_operator.cli.options import Target, Yes, cluster_command
from tokenplace_operator.cli.output import BAD, GOOD, Format, Line, plain, show, show_json
from tokenplace_operator.cli.relay_files import parse_file, read_relay


@cluster_command
async def adopt(
    target: Target,
    output: Format,
    *,
    filename: Annotated[
        str,
        typer.Option(
            "--filename", "-f", help="A file with one TokenplaceRelay; - is standard input."
        ),
    ],
    release: Annotated[
        str,
        typer.Option(help="Name of the Helm release.", show_default="read from its objects"),
    ] = "",
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan; change nothing.")
    ] = False,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=1, help="Seconds for each wait.")
    ] = 180,
    drain_seconds: Annotated[
        float,
        typer.Option("--drain", min=0, help="Seconds for old pods to finish their requests."),
    ] = 30,
) -> Exit:
    """Hand the objects of a Helm release over to the operator while they keep serving.

    Exit code 1: a problem prevents it, a wait timed out, or you declined.
    """
    async with connected(target) as cluster:
        obj, relay = _read(filename, cluster)
        live = await read_release(cluster.kube, relay, release)
        plan = plan_handover(relay, live)
        if output is Format.TEXT:
            show(text(relay, live, plan))
        done: list[str] = []
        if not (plan.problems or plan.is_empty or dry_run):
            if not yes:
                confirm(f"Hand these objects over to {relay.name}?")
            runner = Runner(
                cluster.kube, plan, _reporter(done, output), timeout_seconds, drain_seconds
            )
            await runner.hand_over(obj, relay)
        if output is Format.JSON:
            steps = [] if plan.is_empty else plan.steps
            problems = list(plan.problems)
            show_json({"release": live.name, "problems": problems, "steps": steps, "done": done})
    return Exit.NO if plan.problems else Exit.OK


def _read(filename: str, cluster: Cluster) -> tuple[Object, Relay]:
    obj = read_relay(filename, cluster.namespace, "adopt")
    # The relay has no uid before it is applied; builders need one for owner references.
    return obj, parse_file({**obj, "metadata": {"uid": UNKNOWN_UID, **obj["metadata"]}})


def _reporter(done: list[str], output: Format) -> Callable[[str], None]:
    """Returns a function that records a finished step, and prints it in text mode."""

    def report(step: str) -> None:
        done.append(step)
        if output is Format.TEXT:
            show([plain(f"  done: {step}", GOOD)])

    return report


def text(relay: Relay, live: Release, plan: HandoverPlan) -> list[Line]:
    """The steps of a plan, or the problems that prevent it."""
    target = f"{relay.name} in namespace {relay.namespace}"
    if plan.is_empty:
        return [plain(f"{target}: no object of upstream's charts uses its names")]
    source = f"Helm release {live.name}" if live.name else "the objects with its names"
    lines = [plain(f"{target}, from {source}:")]
    lines += [plain(f"  {number}. {step}") for number, step in enumerate(plan.steps, 1)]
    lines += [plain(f"problem: {problem}", BAD) for problem in plan.problems]
    # helm uninstall deletes objects by name, also those that were handed over.
    if live.name and not plan.problems:
        command = f"kubectl -n {relay.namespace} delete secret -l owner=helm,name={live.name}"
        lines.append(plain(f"afterwards remove Helm's record, never helm uninstall: {command}"))
    return lines
