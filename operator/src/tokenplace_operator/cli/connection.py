"""Connection to the cluster as kubectl makes it: same options, same files, same rights."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.options import Target
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.metrics import Metrics

MANAGER = "kubectl-tokenplace"
"""Field manager of every write by this program."""

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A client of the API server, and the namespace to use."""

    kube: Kube
    namespace: str


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Cluster]:
    """Connect as kubectl would; CliError when there is no kubeconfig or no such context."""
    if uses_in_cluster_config(target):
        async with Kube.connect(Metrics()) as kube:
            yield Cluster(kube, target.namespace or _pod_namespace())
        return
    config = await _read_kubeconfig(target)
    context = config["contexts"][0]
    namespace = target.namespace or context.get("context", {}).get("namespace") or "default"
    async with Kube.connect(Metrics(), context["name"], config) as kube:
        yield Cluster(kube, namespace)


def kubectl_path() -> str:
    """Path of kubectl, which reads kubeconfigs and forwards ports; CliError without one."""
    path = shutil.which("kubectl")
    if path is None:
        raise CliError(Exit.UNREACHABLE, "kubectl is not on the PATH")
    return path


def uses_in_cluster_config(target: Target) -> bool:
    """Whether this is a pod, and no option, variable or file names another cluster."""
    # Kubernetes sets this variable in every pod.
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return False
    # kubectl also prefers a kubeconfig to the ServiceAccount of its pod.
    names_cluster = target.context or target.kubeconfig or "KUBECONFIG" in os.environ
    return not names_cluster and not (Path.home() / ".kube" / "config").exists()


def _pod_namespace() -> str:
    """The namespace of this pod, found as kubectl finds it."""
    try:
        return os.environ.get("POD_NAMESPACE") or _NAMESPACE_FILE.read_text().strip() or "default"
    except OSError:
        return "default"


async def _read_kubeconfig(target: Target) -> dict[str, Any]:
    """The kubeconfig in effect: kubectl merges the options, KUBECONFIG and ~/.kube/config."""
    # kubectl itself merges several files and resolves relative paths.
    # --raw: without it kubectl replaces credentials by a placeholder. --minify leaves one context.
    command = [kubectl_path(), "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *target.kubectl_flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        text = errors.decode(errors="replace").strip().removeprefix("error: ")
        if "current-context must exist" in text:
            text = "no kubeconfig names a cluster; set KUBECONFIG or use --kubeconfig"
        raise CliError(Exit.UNREACHABLE, text)
    config: dict[str, Any] = json.loads(output)
    if not config.get("users"):
        # The client library requires a user, even one without credentials.
        config["users"] = [{"name": "nobody", "user": {}}]
        config["contexts"][0]["context"]["user"] = "nobody"
    return config
