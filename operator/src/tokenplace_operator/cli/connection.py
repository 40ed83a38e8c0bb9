"""Reaching the cluster as kubectl does: the same flags, the same files, the same rights."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenplace_operator.cli import names
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.output import Format
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics

MANAGER = "kubectl-tokenplace"
"""Field manager of what a person changes through this program."""

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Context = Annotated[str, typer.Option(help="The kubeconfig context to use.", show_default=False)]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Default: the namespace of the context.",
        show_default=False,
        callback=names.namespace,
    ),
]
Kubeconfig = Annotated[str, typer.Option(help="Path of the kubeconfig file.", show_default=False)]
Output = Annotated[Format, typer.Option("--output", "-o", help="For people or for programs.")]
Name = Annotated[
    str,
    typer.Argument(
        help="Name of a TokenplaceRelay.", show_default=False, callback=names.relay_name
    ),
]


@dataclass(frozen=True, slots=True)
class Where:
    """The flags that say which cluster and namespace; empty: as the kubeconfig says."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""

    @property
    def flags(self) -> list[str]:
        """The same for kubectl, without the namespace."""
        named = {"--context": self.context, "--kubeconfig": self.kubeconfig}
        return [f"{flag}={value}" for flag, value in named.items() if value]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connection, and the namespace that is meant."""

    kube: Kube
    namespace: str


@asynccontextmanager
async def connected(where: Where) -> AsyncIterator[Cluster]:
    """Log in as kubectl would; CliError when there is no kubeconfig or no such context."""
    if means_own_cluster(where):
        async with Kube.connect(Metrics()) as kube:
            yield Cluster(kube, where.namespace or _own_namespace())
        return
    config = await _kubeconfig(where)
    context = config["contexts"][0]
    namespace = where.namespace or context.get("context", {}).get("namespace") or "default"
    async with Kube.connect(Metrics(), context["name"], config) as kube:
        yield Cluster(kube, namespace)


def kubectl() -> str:
    """Path of kubectl, which knows how to read kubeconfigs and to forward ports."""
    found = shutil.which("kubectl")
    if found is None:
        raise CliError(Exit.NO_CLUSTER, "kubectl is not on the PATH")
    return found


def means_own_cluster(where: Where) -> bool:
    """Whether this is a pod, and nothing names another cluster: no flag, variable or file."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return False
    named = where.context or where.kubeconfig or "KUBECONFIG" in os.environ
    return not named and not (Path.home() / ".kube" / "config").exists()


def _own_namespace() -> str:
    """That of the pod, as kubectl takes it."""
    try:
        return os.environ.get("POD_NAMESPACE") or _NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return "default"


async def _kubeconfig(where: Where) -> dict[str, Any]:
    """What kubectl makes of the flags, of KUBECONFIG (one file or several) and of ~/.kube."""
    command = [kubectl(), "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    process = await asyncio.create_subprocess_exec(
        *command, *where.flags, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        text = errors.decode(errors="replace").strip().removeprefix("error: ")
        hint = "no kubeconfig names a cluster" if "current-context must exist" in text else text
        raise CliError(Exit.NO_CLUSTER, hint)
    config: dict[str, Any] = json.loads(output)
    if not config.get("users"):
        # The client wants a user, be it one without credentials.
        config["users"] = [{"name": "nobody", "user": {}}]
        config["contexts"][0]["context"]["user"] = "nobody"
    return config
