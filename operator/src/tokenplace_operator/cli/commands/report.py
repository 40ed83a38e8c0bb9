"""`kubectl tokenplace report`: a redacted support bundle of one relay."""

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
from tokenplace_operator.cli.connection import Cluster, connected
from tokenplace_operator.cli.details import details
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.options import (
    OPERATOR_NAMESPACE,
    RelayName,
    Target,
    cluster_command,
    namespace_name,
)
from tokenplace_operator.cli.output import Format, aligned, plain, show, show_json
from tokenplace_operator.cli.redact import Redactor
from tokenplace_operator.cli.snapshot import Snapshot, read_snapshot
from tokenplace_operator.cli.yaml_io import to_yaml
from tokenplace_operator.clock import utc_now
from tokenplace_operator.kube.client import Kube
from tokenplace_operator.kube.errors import KubeError

OPERATOR_SELECTOR = f"app.kubernetes.io/name={OPERATOR}"
LOG_LINES = 2000
MAX_PODS = 10

README = """Written by kubectl tokenplace report {version}.
Redacted: values of environment variables and annotations, fields with names like secrets, and
text in objects and logs that looks like a credential. No Secret was read. Review before you share.
"""


@dataclass(slots=True)
class Bundle:
    """Content of the bundle by file name, and a message for whatever could not be read."""

    files: dict[str, str] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Log:
    """Log of one container."""

    name: str
    text: str


@cluster_command
async def report(
    target: Target,
    output: Format,
    *,
    name: RelayName,
    file: Annotated[
        Path | None,
        typer.Option(
            help="File to write. Default: tokenplace-NAMESPACE-NAME-TIME.tar.gz.",
            show_default=False,
        ),
    ] = None,
    operator_namespace: Annotated[
        str, typer.Option(help="Namespace of the operator.", callback=namespace_name)
    ] = OPERATOR_NAMESPACE,
) -> Exit:
    """Write a redacted bundle: relay, child resources, pods, Events and logs."""
    async with connected(target) as cluster:
        bundle = await _collect(cluster, name, operator_namespace)
        now = utc_now()
        path = file or Path(f"tokenplace-{cluster.namespace}-{name}-{now:%Y%m%d-%H%M%S}.tar.gz")
    try:
        write(path, bundle.files, now)
    except OSError as error:
        raise CliError(Exit.USAGE, f"cannot write {path}: {error.strerror}") from None
    _show_contents(path, bundle, output)
    return Exit.OK


def _show_contents(path: Path, bundle: Bundle, output: Format) -> None:
    sizes = {name: len(content.encode()) for name, content in bundle.files.items()}
    if output is Format.JSON:
        content = {"file": str(path), "contents": sizes, "unreadable": bundle.unreadable}
        show_json(content)
        return
    rows = [[name, counted(size, "byte")] for name, size in sizes.items()]
    show([plain(f"{path} contains"), *aligned(rows)])
    show(plain(f"not readable: {message}") for message in bundle.unreadable)


async def _collect(cluster: Cluster, name: str, operator_namespace: str) -> Bundle:
    kube = cluster.kube
    snapshot = await read_snapshot(kube, cluster.namespace, name)
    unreadable = list(snapshot.unreadable)
    operator_pods: list[Object] = []
    # The user may have no rights in the operator's namespace; the rest of the bundle still helps.
    try:
        operator_pods, _ = await kube.list(POD, operator_namespace, OPERATOR_SELECTOR)
    except KubeError as error:
        unreadable.append(error.message)
    logs = [
        *await _logs(kube, snapshot.pods, "relay", unreadable),
        *await _logs(kube, operator_pods, "operator", unreadable),
    ]
    return Bundle(redacted(snapshot, operator_pods, logs), unreadable)


def redacted(
    snapshot: Snapshot, operator_pods: Iterable[Object], logs: Iterable[Log]
) -> dict[str, str]:
    """The files of a bundle by name, with all secrets redacted."""
    redactor = Redactor()
    # The objects are read twice, and an iterator would be empty the second time.
    operator_pods = list(operator_pods)
    # Learn from all objects first: the status of one may quote a secret of another.
    redactor.learn([snapshot.relay, *snapshot.children, *snapshot.pods, *operator_pods])
    files = {"README.txt": README.format(version=__version__)}
    status = redactor.redact(details(snapshot))
    files["status.json"] = json.dumps(status, indent=2) + "\n"
    files["relay.yaml"] = to_yaml(redactor.redact(snapshot.relay))
    folders = {"children": snapshot.children, "pods": snapshot.pods, "operator": operator_pods}
    for folder, objects in folders.items():
        for obj in objects:
            file = f"{folder}/{obj['kind'].lower()}-{obj['metadata']['name']}.yaml"
            files[file] = to_yaml(redactor.redact(obj))
    files["events.yaml"] = to_yaml(*(redactor.redact(event) for event in snapshot.events))
    files |= {f"logs/{log.name}.log": redactor.redact_text(log.text) for log in logs}
    return files


def write(path: Path, files: dict[str, str], now: datetime) -> None:
    """Write a tar.gz that only the user may read; OSError when it cannot be written.

    The archive holds one folder, named like the file; now: the files' modification time.
    """
    if path.exists() and not path.is_file():  # A pipe or a device cannot be replaced.
        path.write_bytes(_packed(path, files, now))
        return
    # Other users may be able to read an existing file, or have it open, so it is replaced.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tokenplace-report-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_packed(path, files, now))
        Path(temporary).replace(path)
    # Also on Ctrl-C: no partial file with data of the cluster may stay in the folder.
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _packed(path: Path, files: dict[str, str], now: datetime) -> bytes:
    folder = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            data = content.encode()
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(data), int(now.timestamp()), 0o600
            # 0600: after unpacking, too, only the user may read the files.
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


async def _logs(
    kube: Kube, pods: Iterable[Object], container: str, unreadable: list[str]
) -> list[Log]:
    """The logs of pods, with the log before the last restart of a restarted container."""
    logs = []
    for pod in list(pods)[:MAX_PODS]:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        # A crashed container has its error in the log before the restart, not in the current one.
        for previous in (False, True) if _restarted(pod) else (False,):
            try:
                text = await kube.pod_log(
                    namespace, name, container, lines=LOG_LINES, previous=previous
                )
            except KubeError as error:
                unreadable.append(f"log of {name}: {error.message}")
                continue
            logs.append(Log(f"{container}-{name}{'.previous' if previous else ''}", text))
    return logs


def _restarted(pod: Object) -> bool:
    containers = pod.get("status", {}).get("containerStatuses", [])
    return any(container.get("restartCount", 0) for container in containers)
