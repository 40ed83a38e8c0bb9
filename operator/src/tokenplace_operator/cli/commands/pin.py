"""`kubectl tokenplace pin`: from a tag, which can be moved, to the digest that runs."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from tokenplace_operator.api.kinds import POD, RELAY, Object
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cli.confirm import confirm
from tokenplace_operator.cli.connection import (
    MANAGER,
    Context,
    Kubeconfig,
    Name,
    Namespace,
    Output,
    Where,
    connected,
)
from tokenplace_operator.cli.exit_codes import CliError, Exit, finish
from tokenplace_operator.cli.observe import pod_selector
from tokenplace_operator.cli.output import Format, plain, show, show_json
from tokenplace_operator.kube.client import Kube

CONTAINER = "relay"


@dataclass(frozen=True, slots=True)
class Pin:
    """What is or was done. done: pinned, already pinned, or would be pinned."""

    namespace: str
    name: str
    before: str
    digest: str
    done: str


def pin(
    *,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the server check the change, and keep nothing.")
    ] = False,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Set spec.image.digest to the digest that runs now. Exit code 1: none runs, or not wanted."""
    where = Where(context, namespace, kubeconfig)
    finish(_pin(where, name, output, sure=yes, dry_run=dry_run))


async def _pin(where: Where, name: str, output: Format, *, sure: bool, dry_run: bool) -> Exit:
    async with connected(where) as cluster:
        obj = await cluster.kube.get(RELAY, cluster.namespace, name)
        relay = parse(obj)
        if relay.image.digest:
            _tell(
                Pin(*_key(relay), relay.image.reference, relay.image.digest, "already pinned"),
                output,
            )
            return Exit.YES
        pods, _ = await cluster.kube.list(POD, cluster.namespace, pod_selector(name))
        digest = running_digest(pods, relay.image.reference)
        if not (sure or dry_run):
            confirm(f"{relay.image.reference} runs as {digest}. Pin {relay.name} to it?")
        await _patch(cluster.kube, obj, digest, dry_run=dry_run)
    done = "would be pinned" if dry_run else "pinned"
    _tell(Pin(*_key(relay), relay.image.reference, digest, done), output)
    return Exit.YES


def running_digest(pods: list[Object], reference: str) -> str:
    """The one digest that running containers of this image report; CliError for none or several."""
    digests = {
        str(container.get("imageID", "")).rpartition("@")[2]
        for pod in pods
        if _asked_for(pod) == reference
        for container in pod.get("status", {}).get("containerStatuses", [])
        if container.get("name") == CONTAINER and "running" in container.get("state", {})
    }
    found = sorted(one for one in digests if one.startswith("sha256:"))
    if not found:
        raise CliError(Exit.NO, f"no pod runs {reference} yet, so its digest is not known")
    if len(found) > 1:
        text = f"pods run different images of {reference}: {', '.join(found)}; wait for the rollout"
        raise CliError(Exit.NO, text)
    return found[0]


async def _patch(kube: Kube, obj: Object, digest: str, *, dry_run: bool) -> None:
    metadata = obj["metadata"]
    patch = {
        # Refused with a conflict when somebody has changed the relay since it was read.
        "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "spec": {"image": {"digest": digest}},
    }
    await kube.patch(
        RELAY, metadata["namespace"], metadata["name"], patch, manager=MANAGER, dry_run=dry_run
    )


def _asked_for(pod: Object) -> str:
    containers = pod.get("spec", {}).get("containers", [])
    return next((str(one["image"]) for one in containers if one["name"] == CONTAINER), "")


def _key(relay: Relay) -> tuple[str, str]:
    return relay.namespace, relay.name


def _tell(pin: Pin, output: Format) -> None:
    if output is Format.JSON:
        show_json(asdict(pin))
        return
    tail = f" to {pin.digest}" if pin.done != "already pinned" else ""
    show([plain(f"{pin.name} in namespace {pin.namespace}: {pin.before} {pin.done}{tail}")])
