"""`tokenplace-cluster`: a Kubernetes cluster from the command line."""

import shlex
import signal
from contextlib import ExitStack
from typing import Annotated

import typer
from rich.console import Console

from tokenplace_cluster import demo, dev
from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import ControlPlane
from tokenplace_cluster.node import cleanup
from tokenplace_cluster.programs import build

cli = typer.Typer(
    no_args_is_help=True,
    help="A real Kubernetes on this machine, without a container engine.",
)
console = Console(highlight=False, soft_wrap=True)


@cli.command("build")
def build_programs(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all of them.")] = None,
) -> None:
    """Build or fetch programs that are not there yet, and print their paths."""
    for name in names or build.programs():
        console.print(f"{name:25} {build.program(name)}")


@cli.command()
def program(name: str) -> None:
    """Build one program, if it is not there yet, and print its path."""
    typer.echo(build.program(name))


@cli.command()
def up(
    node: Annotated[bool, typer.Option(help="With a node that runs pods; needs root.")] = False,
) -> None:
    """Start a cluster, print how to reach it, and keep it until Ctrl-C."""
    with ExitStack() as stack:
        started = (
            stack.enter_context(Cluster.start())
            if node
            else stack.enter_context(ControlPlane.start())
        )
        console.print(f"export KUBECONFIG={shlex.quote(str(started.kubeconfig))}")
        console.print("Ctrl-C stops it and removes everything.")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@cli.command("dev")
def run_operator(
    once: Annotated[bool, typer.Option(help="Exit when the sample relay is Ready.")] = False,
) -> None:
    """Run the operator from the working tree on a control plane with a sample relay."""
    raise typer.Exit(dev.run(console, once=once))


@cli.command("demo")
def play_demo(
    once: Annotated[bool, typer.Option(help="Leave at the end; exit 0 if the probe passed.")] = (
        False
    ),
    context: Annotated[str, typer.Option(help="Use the cluster of this kube context.")] = "",
    relay_image: Annotated[
        str, typer.Option(help="With --context: the relay, by digest.", envvar="RELAY_IMAGE")
    ] = "",
    operator_image: Annotated[
        str,
        typer.Option(
            help="With --context: the operator, by digest; without it, it runs here.",
            envvar="OPERATOR_IMAGE",
        ),
    ] = "",
) -> None:
    """Show a TokenplaceRelay become a running relay."""
    given = demo.Given(context, relay_image, operator_image)
    raise typer.Exit(demo.run(console, once=once, given=given))


@cli.command()
def clean() -> None:
    """Remove what clusters left behind when their driver was killed."""
    for line in cleanup.clean_abandoned() or ["nothing to remove"]:
        console.print(line)


if __name__ == "__main__":
    cli()
