"""`kubectl tokenplace probe`: one encrypted round trip through the Service, from here.

The round trip is the relay's own program, `tokenplace-relay probe`: the two programs share no
code. Where it is installed it runs here, through a forwarded port. Else it runs in the relay pod.
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
from tokenplace_operator.cli.connection import (
    Context,
    Kubeconfig,
    Name,
    Namespace,
    Output,
    Where,
    connected,
    kubectl,
)
from tokenplace_operator.cli.exit_codes import CliError, Exit, finish
from tokenplace_operator.cli.observe import pod_selector
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
from tokenplace_operator.kube.client import Kube

PROGRAM = "tokenplace-relay"
FORWARD_SECONDS = 20.0
MARGIN_SECONDS = 15.0
"""What the program may take beyond its own time: its start, and kubectl's."""

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Via(StrEnum):
    """Where the round trip begins."""

    AUTO = "auto"
    SERVICE = "service"
    POD = "pod"


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended."""

    code: int
    output: str
    errors: str


def probe(
    *,
    name: Name,
    via: Annotated[
        Via,
        typer.Option(
            help=f"service: from here, through a forwarded port, with {PROGRAM} from the PATH. "
            "pod: inside the relay pod. auto: service where it can be."
        ),
    ] = Via.AUTO,
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds to wait.")] = 30.0,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """Send one encrypted request through a relay. Exit code 1: it did not come back right."""
    finish(_probe(Where(context, namespace, kubeconfig), name, via, timeout, output))


async def _probe(where: Where, name: str, via: Via, seconds: float, output: Format) -> Exit:
    local = shutil.which(PROGRAM)
    if via is Via.SERVICE and local is None:
        raise CliError(Exit.USAGE, f"{PROGRAM} is not on the PATH; install it, or use --via pod")
    async with connected(where) as cluster:
        relay = parse(await cluster.kube.get(RELAY, cluster.namespace, name))
        command = [kubectl(), *where.flags, f"--namespace={relay.namespace}"]
        pod = await _a_ready_pod(cluster.kube, relay)
        if local is None or via is Via.POD:
            found = await _in_pod(command, pod, relay, seconds)
            way = f"inside pod {pod}"
        else:
            found = await _from_here(command, local, relay, seconds)
            way = f"through Service {relay.name}"
    result = {"namespace": relay.namespace, "name": relay.name, "way": way, **read(found)}
    if output is Format.JSON:
        show_json(result)
    else:
        show(text(result))
    return Exit.YES if result["passed"] else Exit.NO


async def _from_here(command: list[str], program: str, relay: Relay, seconds: float) -> Ended:
    async with _forwarded([*command, "port-forward"], relay) as port:
        url = f"http://127.0.0.1:{port}"
        return await _run([program, *_arguments(url, seconds)], seconds + MARGIN_SECONDS)


async def _in_pod(command: list[str], pod: str, relay: Relay, seconds: float) -> Ended:
    # Not by the Service's name: the NetworkPolicy keeps a relay from calling itself that way.
    url = f"http://127.0.0.1:{relay.port}"
    inside = ["exec", pod, "--container=relay", "--", PROGRAM, *_arguments(url, seconds)]
    return await _run([*command, *inside], seconds + MARGIN_SECONDS)


def _arguments(url: str, seconds: float) -> list[str]:
    return ["probe", url, "--json", f"--timeout={seconds:g}"]


def read(ended: Ended) -> dict[str, Any]:
    """What the probe's program said; CliError when it said nothing that can be read."""
    try:
        found = json.loads(ended.output)
        return {"passed": ended.code == 0 and found["passed"], "steps": found["steps"]}
    except (ValueError, KeyError, TypeError):
        last = (ended.errors.strip() or ended.output.strip() or "no output").splitlines()[-1]
        raise CliError(Exit.NO, f"the probe did not run: {last}") from None


def text(result: dict[str, Any]) -> list[Line]:
    """One line a step."""
    lines = [plain(f"probe of {result['name']} in {result['namespace']}, {result['way']}")]
    rows = []
    for step in result["steps"]:
        verdict = plain("FAILED", BAD) if step["error"] else plain("ok", GOOD)
        rows.append([step["name"], f"{step['milliseconds']:.1f} ms", verdict, step["error"]])
    lines += aligned(rows) if rows else []
    passed = result["passed"]
    return [*lines, plain("passed" if passed else "failed", GOOD if passed else BAD)]


async def _a_ready_pod(kube: Kube, relay: Relay) -> str:
    pods, _ = await kube.list(POD, relay.namespace, pod_selector(relay.name))
    for pod in pods:
        if _is_ready(pod):
            return str(pod["metadata"]["name"])
    text = f"no pod of {relay.name} is ready; see kubectl tokenplace explain {relay.name}"
    raise CliError(Exit.NO, text)


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = is_true(conditions, "Ready")
    return ready and "deletionTimestamp" not in pod["metadata"]


@asynccontextmanager
async def _forwarded(command: list[str], relay: Relay) -> AsyncIterator[int]:
    """A free port of this machine that leads to the Service while the block runs."""
    target = ["--address=127.0.0.1", f"service/{relay.name}", f":{relay.service.port}"]
    process = await asyncio.create_subprocess_exec(
        *command, *target, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield await _port(process)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(FORWARD_SECONDS):
            while line := await process.stdout.readline():
                match = _FORWARDING.match(line.decode())
                if match:
                    return int(match[1])
            said = (await process.stderr.read()).decode(errors="replace").strip()
    except TimeoutError:
        said = f"no port was forwarded within {FORWARD_SECONDS:g} s"
    last = said.splitlines()[-1] if said else "kubectl port-forward ended at once"
    raise CliError(Exit.NO, f"the Service cannot be reached: {last.removeprefix('error: ')}")


async def _run(command: list[str], seconds: float) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise CliError(Exit.NO, f"the probe did not end within {seconds:g} s") from None
    finally:
        # Ctrl-C too: what goes on in a pod would hold its request open.
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode(errors="replace"))
