"""`kubectl tokenplace probe`: one encrypted round trip through a relay.

Runs `tokenplace-relay probe`, because operator and relay share no code: on this machine through a
forwarded port when that program is installed, otherwise inside the relay pod.
"""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from tokenplace_operator.api.conditions import is_true
from tokenplace_operator.api.kinds import POD, RELAY, Object
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.cli.connection import connected, kubectl_path
from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.options import RelayName, Target, cluster_command
from tokenplace_operator.cli.output import (
    BAD,
    GOOD,
    Format,
    Line,
    aligned,
    plain,
    show,
    show_json,
)
from tokenplace_operator.cli.snapshot import pod_selector
from tokenplace_operator.kube.client import Kube

PROGRAM = "tokenplace-relay"
FORWARD_SECONDS = 20.0
"""Time for kubectl port-forward to open a port."""
MARGIN_SECONDS = 15.0
"""Time beyond --timeout for the start of the probe and of kubectl."""

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Via(StrEnum):
    """Values of --via: where the probe runs."""

    AUTO = "auto"
    SERVICE = "service"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """Exit code, standard output and standard error of a finished process."""

    code: int
    output: str
    errors: str


@cluster_command
async def probe(
    target: Target,
    output: Format,
    *,
    name: RelayName,
    via: Annotated[
        Via,
        typer.Option(
            help=f"service: from this machine through a forwarded port; needs {PROGRAM} on the "
            "PATH. pod: inside the relay pod. auto: service where possible."
        ),
    ] = Via.AUTO,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout", min=1, max=600, help="Seconds to wait.")
    ] = 30.0,
) -> Exit:
    """Send one encrypted request through a relay. Exit code 1: the probe failed."""
    local = shutil.which(PROGRAM)
    if via is Via.SERVICE and local is None:
        raise CliError(Exit.USAGE, f"{PROGRAM} is not on the PATH; install it, or use --via pod")
    async with connected(target) as cluster:
        relay = parse(await cluster.kube.get(RELAY, cluster.namespace, name))
        kubectl = [kubectl_path(), *target.kubectl_flags, f"--namespace={relay.namespace}"]
        # Also for a probe of the Service: without a ready pod it would only time out.
        pod = await _ready_pod(cluster.kube, relay)
        # The program is part of the relay's image, so a pod always has it.
        if local is None or via is Via.POD:
            process = await _probe_in_pod(kubectl, pod, relay, timeout_seconds)
            route = f"inside pod {pod}"
        else:
            process = await _probe_service(kubectl, local, relay, timeout_seconds)
            route = f"through Service {relay.name}"
    result = {"namespace": relay.namespace, "name": relay.name, "route": route, **read(process)}
    if output is Format.JSON:
        show_json(result)
    else:
        show(text(result))
    return Exit.OK if result["passed"] else Exit.NO


async def _probe_service(
    kubectl: list[str], program: str, relay: Relay, seconds: float
) -> ProcessResult:
    async with _forwarded_port([*kubectl, "port-forward"], relay) as port:
        url = f"http://127.0.0.1:{port}"
        return await _run([program, *_arguments(url, seconds)], seconds + MARGIN_SECONDS)


async def _probe_in_pod(
    kubectl: list[str], pod: str, relay: Relay, seconds: float
) -> ProcessResult:
    # The NetworkPolicy does not let a relay connect to its own Service.
    url = f"http://127.0.0.1:{relay.port}"
    inside = ["exec", pod, "--container=relay", "--", PROGRAM, *_arguments(url, seconds)]
    return await _run([*kubectl, *inside], seconds + MARGIN_SECONDS)


def _arguments(url: str, seconds: float) -> list[str]:
    return ["probe", url, "--json", f"--timeout={seconds:g}"]


def read(process: ProcessResult) -> dict[str, Any]:
    """The verdict and the steps that the probe printed; CliError when it printed no JSON."""
    try:
        printed = json.loads(process.output)
        return {"passed": process.code == 0 and printed["passed"], "steps": printed["steps"]}
    except (ValueError, KeyError, TypeError):
        printed = process.errors.strip() or process.output.strip() or "no output"
        raise CliError(Exit.NO, f"the probe did not run: {printed.splitlines()[-1]}") from None


def text(result: dict[str, Any]) -> list[Line]:
    """One line for each step."""
    lines = [plain(f"probe of {result['name']} in {result['namespace']}, {result['route']}")]
    rows = []
    for step in result["steps"]:
        verdict = plain("FAILED", BAD) if step["error"] else plain("ok", GOOD)
        rows.append([step["name"], f"{step['milliseconds']:.1f} ms", verdict, step["error"]])
    lines += aligned(rows) if rows else []
    passed = result["passed"]
    return [*lines, plain("passed" if passed else "failed", GOOD if passed else BAD)]


async def _ready_pod(kube: Kube, relay: Relay) -> str:
    pods, _ = await kube.list(POD, relay.namespace, pod_selector(relay.name))
    for pod in pods:
        if _is_ready(pod):
            return str(pod["metadata"]["name"])
    text = f"no pod of {relay.name} is ready; run kubectl tokenplace explain {relay.name}"
    raise CliError(Exit.NO, text)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = is_true(conditions, "Ready")
    # A draining pod is still ready for a moment, but rejects new requests.
    return ready and "deletionTimestamp" not in pod["metadata"]


@asynccontextmanager
async def _forwarded_port(command: list[str], relay: Relay) -> AsyncIterator[int]:
    """A local port that is forwarded to the Service while the block runs."""
    # An empty local port lets kubectl choose a free one.
    target = ["--address=127.0.0.1", f"service/{relay.name}", f":{relay.service.port}"]
    process = await asyncio.create_subprocess_exec(
        *command, *target, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    # The port is released also when the probe fails or the user presses Ctrl-C.
    try:
        yield await _read_port(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _read_port(process: asyncio.subprocess.Process) -> int:
    # For the type checker: both are pipes of the call above.
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(FORWARD_SECONDS):
            while line := await process.stdout.readline():
                match = _FORWARDING.match(line.decode())
                if match:
                    return int(match[1])
            errors = (await process.stderr.read()).decode(errors="replace").strip()
    except TimeoutError:
        errors = f"no port was forwarded within {FORWARD_SECONDS:g} s"
    last = errors.splitlines()[-1] if errors else "kubectl port-forward exited at once"
    raise CliError(Exit.NO, f"cannot reach the Service: {last.removeprefix('error: ')}")


async def _run(command: list[str], seconds: float) -> ProcessResult:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise CliError(Exit.NO, f"the probe did not finish within {seconds:g} s") from None
    finally:
        # Also on Ctrl-C: a probe that keeps running in the pod would keep its request open.
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return ProcessResult(process.returncode, output.decode(), errors.decode(errors="replace"))
