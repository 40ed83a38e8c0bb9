"""`kubectl tokenplace pin`: replace a movable tag by the digest that the pods run."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from tokenplace_operator.api.kinds import POD, RELAY, Object
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cli.confirm import confirm
from tokenplace_operator.cli.connection import MANAGER, connected
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.options import RelayName, Target, Yes, cluster_command
from tokenplace_operator.cli.output import Format, plain, show, show_json
from tokenplace_operator.cli.snapshot import pod_selector
from tokenplace_operator.kube.client import Kube

CONTAINER = "relay"


@dataclass(frozen=True, slots=True)
class PinResult:
    """Outcome of the command. done: pinned, already pinned, or would be pinned.

    before: the image reference that was set; digest: the one to run from now on.
    """

    namespace: str
    name: str
    before: str
    digest: str
    done: str


@cluster_command
async def pin(
    target: Target,
    output: Format,
    *,
    name: RelayName,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the API server check the change; save nothing.")
    ] = False,
) -> Exit:
    """Set spec.image.digest to the digest that runs. Exit code 1: no pod runs, or you declined."""
    async with connected(target) as cluster:
        obj = await cluster.kube.get(RELAY, cluster.namespace, name)
        relay = parse(obj)
        if relay.image.digest:
            _show_result(relay, relay.image.digest, "already pinned", output)
            return Exit.OK
        pods, _ = await cluster.kube.list(POD, cluster.namespace, pod_selector(name))
        digest = running_digest(pods, relay.image.reference)
        if not (yes or dry_run):
            confirm(f"{relay.image.reference} runs as {digest}. Pin {relay.name} to it?")
        await _patch(cluster.kube, obj, digest, dry_run=dry_run)
    _show_result(relay, digest, "would be pinned" if dry_run else "pinned", output)
    return Exit.OK


def running_digest(pods: list[Object], reference: str) -> str:
    """The one digest of all running containers of an image; CliError for none or several."""
    image_ids = {
        str(container.get("imageID", "")).rpartition("@")[2]
        for pod in pods
        # Pods of an earlier rollout may still run another image.
        if _image_of(pod) == reference
        for container in pod.get("status", {}).get("containerStatuses", [])
        if container.get("name") == CONTAINER and "running" in container.get("state", {})
    }
    digests = sorted(image_id for image_id in image_ids if image_id.startswith("sha256:"))
    if not digests:
        raise CliError(Exit.NO, f"no pod runs {reference} yet, so its digest is unknown")
    if len(digests) > 1:
        text = f"pods run several images of {reference}: {', '.join(digests)}"
        raise CliError(Exit.NO, f"{text}; wait for the rollout, then run this again")
    return digests[0]


async def _patch(kube: Kube, obj: Object, digest: str, *, dry_run: bool) -> None:
    metadata = obj["metadata"]
    patch = {
        # The API server answers 409 Conflict when the relay has changed since it was read.
        "metadata": {"resourceVersion": metadata["resourceVersion"]},
        "spec": {"image": {"digest": digest}},
    }
    await kube.patch(
        RELAY, metadata["namespace"], metadata["name"], patch, manager=MANAGER, dry_run=dry_run
    )


def _image_of(pod: Object) -> str:
    # By name, because a service mesh can add containers.
    containers = pod.get("spec", {}).get("containers", [])
    return next(
        (str(container["image"]) for container in containers if container["name"] == CONTAINER), ""
    )


def _show_result(relay: Relay, digest: str, done: str, output: Format) -> None:
    result = PinResult(relay.namespace, relay.name, relay.image.reference, digest, done)
    if output is Format.JSON:
        show_json(asdict(result))
        return
    suffix = f" to {digest}" if done != "already pinned" else ""
    show([plain(f"{result.name} in namespace {result.namespace}: {result.before} {done}{suffix}")])
