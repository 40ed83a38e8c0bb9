"""`kubectl tokenplace report`: one file for whoever is asked for help, with no secret in it."""

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from tokenplace_operator import __version__
from tokenplace_operator.api.conditions import counted
from tokenplace_operator.api.kinds import POD, Object
from tokenplace_operator.api.names import OPERATOR
from tokenplace_operator.cli import names
from tokenplace_operator.cli.connection import (
    Cluster,
    Context,
    Kubeconfig,
    Name,
    Namespace,
    Output,
    Where,
    connected,
)
from tokenplace_operator.cli.details import details
from tokenplace_operator.cli.documents import to_yaml
from tokenplace_operator.cli.exit_codes import CliError, Exit, finish
from tokenplace_operator.cli.observe import Snapshot, observe
from tokenplace_operator.cli.output import Format, aligned, plain, show, show_json, utc_now
from tokenplace_operator.cli.redact import Redactor
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import KubeError

OPERATOR_SELECTOR = f"app.kubernetes.io/name={OPERATOR}"
LOG_LINES = 2000
MAX_PODS = 10

README = """Made by kubectl tokenplace report {version}.
Taken out: values of environment variables and annotations, fields named like secrets, and
whatever looks like a credential in texts and logs. Secrets were not read. Look before you share.
"""


@dataclass(slots=True)
class Bundle:
    """Files by name, and what could not be read."""

    files: dict[str, str] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Log:
    """What one container wrote."""

    name: str
    text: str


def report(
    *,
    name: Name,
    file: Annotated[
        Path | None,
        typer.Option(help="Where to write it. Default: a name with the time.", show_default=False),
    ] = None,
    operator_namespace: Annotated[
        str, typer.Option(help="Where the operator runs.", callback=names.namespace)
    ] = "tokenplace-system",
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Write a redacted bundle: the relay, its children, pods, events, and the logs."""
    where = Where(context, namespace, kubeconfig)
    finish(_report(where, name, file, operator_namespace, output))


async def _report(
    where: Where, name: str, file: Path | None, operator_namespace: str, output: Format
) -> Exit:
    async with connected(where) as cluster:
        bundle = await _collect(cluster, name, operator_namespace)
        now = utc_now()
        path = file or Path(f"tokenplace-{cluster.namespace}-{name}-{now:%Y%m%d-%H%M%S}.tar.gz")
    try:
        write(path, bundle.files, now)
    except OSError as error:
        raise CliError(Exit.USAGE, f"cannot write {path}: {error.strerror}") from None
    sizes = {one: len(content.encode()) for one, content in bundle.files.items()}
    if output is Format.JSON:
        show_json({"file": str(path), "contents": sizes, "notRead": bundle.gaps})
    else:
        show(
            [
                plain(f"{path} holds"),
                *aligned([[one, counted(n, "byte")] for one, n in sizes.items()]),
            ]
        )
        show(plain(f"not read: {one}") for one in bundle.gaps)
    return Exit.YES


async def _collect(cluster: Cluster, name: str, operator_namespace: str) -> Bundle:
    kube = cluster.kube
    snapshot = await observe(kube, cluster.namespace, name)
    gaps = list(snapshot.gaps)
    operators: list[Object] = []
    try:
        operators, _ = await kube.list(POD, operator_namespace, OPERATOR_SELECTOR)
    except KubeError as error:
        gaps.append(error.message)
    logs = [
        *await _logs(kube, snapshot.pods, "relay", gaps),
        *await _logs(kube, operators, "operator", gaps),
    ]
    return Bundle(redacted(snapshot, operators, logs), gaps)


def redacted(
    snapshot: Snapshot, operators: Iterable[Object], logs: Iterable[Log]
) -> dict[str, str]:
    """The files of a bundle, in which no secret is left."""
    redactor = Redactor()
    operators = list(operators)
    redactor.learn([snapshot.relay, *snapshot.children, *snapshot.pods, *operators])
    files = {"README.txt": README.format(version=__version__)}
    summary = redactor.shown(details(snapshot))
    files["status.json"] = json.dumps(summary, indent=2) + "\n"
    files["relay.yaml"] = to_yaml(redactor.shown(snapshot.relay))
    groups = {"children": snapshot.children, "pods": snapshot.pods, "operator": operators}
    for folder, objects in groups.items():
        for one in objects:
            file = f"{folder}/{one['kind'].lower()}-{one['metadata']['name']}.yaml"
            files[file] = to_yaml(redactor.shown(one))
    files["events.yaml"] = to_yaml(*(redactor.shown(one) for one in snapshot.events))
    files |= {f"logs/{one.name}.log": redactor.text(one.text) for one in logs}
    return files


def write(path: Path, files: dict[str, str], now: datetime) -> None:
    """Write a tar.gz whose only folder is named like the file; others may not read it."""
    if path.exists() and not path.is_file():  # A pipe or a device has nothing to be replaced.
        path.write_bytes(_packed(path, files, now))
        return
    # A new file, for one that is there may be open to others, or have been opened by them.
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".tokenplace-report-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_packed(path, files, now))
        Path(made).replace(path)
    except BaseException:
        Path(made).unlink(missing_ok=True)
        raise


def _packed(path: Path, files: dict[str, str], now: datetime) -> bytes:
    folder = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            data = content.encode()
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(data), int(now.timestamp()), 0o600
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


async def _logs(kube: Kube, pods: Iterable[Object], container: str, gaps: list[str]) -> list[Log]:
    """The logs of pods; of a container that was restarted, also those before."""
    found = []
    for pod in list(pods)[:MAX_PODS]:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for previous in (False, True) if _restarted(pod) else (False,):
            try:
                text = await kube.pod_log(
                    namespace, name, container, lines=LOG_LINES, previous=previous
                )
            except KubeError as error:
                gaps.append(f"log of {name}: {error.message}")
                continue
            found.append(Log(f"{container}-{name}{'.previous' if previous else ''}", text))
    return found


def _restarted(pod: Object) -> bool:
    containers = pod.get("status", {}).get("containerStatuses", [])
    return any(one.get("restartCount", 0) for one in containers)
