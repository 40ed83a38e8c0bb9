"""`make demo`: a TokenplaceRelay becomes a Ready relay that passes an encrypted round trip.

It runs in one of three ways: on a cluster of its own with a node (needs root), on the cluster of a
kube context, or on a control plane without a node, where no pod can run but all objects of the
operator can be seen.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console

from tokenplace_cluster.cluster import Cluster
from tokenplace_cluster.control_plane.control_plane import KUBECTL, ControlPlane, KubectlError
from tokenplace_cluster.control_plane.crds import install_crd
from tokenplace_cluster.programs import images
from tokenplace_cluster.subjects import shipped
from tokenplace_cluster.subjects.forward import ForwardError, forwarded

ROOT: Final = Path(__file__).parents[4]
NAMESPACE: Final = "default"
NAME: Final = "relay"
READY_SECONDS: Final = 120.0
DOMAIN_PATCH: Final = '{"spec":{"ingress":{"domain":"example.com"}}}'
CHILDREN: Final = (
    "serviceaccount,deployment,pod,service,endpointslices.discovery.k8s.io,ingress,networkpolicy"
)


class DemoError(RuntimeError):
    """The demo cannot continue; the message gives the reason and the next step."""


@dataclass(frozen=True, slots=True)
class Given:
    """The options of the user; without a context, the demo starts a cluster of its own."""

    context: str = ""
    relay_image: str = ""
    operator_image: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """The cluster of the demo: how to reach its API server, and what can run there."""

    kubectl: tuple[str, ...]
    relay_image: str
    operator_image: str = ""
    """If empty, the operator runs as a process on this machine."""
    has_nodes: bool = True

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl and return its output; raises KubectlError."""
        done = subprocess.run(
            [*self.kubectl, *arguments], input=given, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def run(console: Console, *, once: bool, given: Given) -> int:
    """Run the demo; return 0 if the probe passed, else 1."""
    with ExitStack() as stack:
        try:
            stage = _set_up(stack, console, given)
            _install(stack, console, stage)
            passed = _show_relay(stack, console, stage)
        except (DemoError, KubectlError, ForwardError, TimeoutError) as error:
            console.print(f"[red]{error}[/red]")
            return 1
        if not once:
            _stay(console, stage)
        return 0 if passed else 1


def _set_up(stack: ExitStack, console: Console, given: Given) -> Stage:
    if given.context:
        return _given_cluster(console, given)
    if os.geteuid() != 0:
        return _without_node(stack, console)
    return _own_cluster(stack, console)


def _own_cluster(stack: ExitStack, console: Console) -> Stage:
    with _step(console, "Start a cluster with one node"):
        cluster = stack.enter_context(Cluster.start())
    with _step(console, "Build the images and push them to the local registry"):
        relay, operator = (
            images.push(images.build(name), cluster.registry.address)
            for name in ("relay", "operator")
        )
    kubectl = (KUBECTL, f"--kubeconfig={cluster.kubeconfig}")
    console.print(f"  KUBECONFIG={cluster.kubeconfig}")
    return Stage(kubectl, relay, operator)


def _given_cluster(console: Console, given: Given) -> Stage:
    if "@sha256:" not in given.relay_image:
        raise DemoError(
            "To use your own cluster, give a relay image by digest that its nodes can pull:\n"
            "  RELAY_IMAGE=registry/tokenplace-relay@sha256:... make demo CONTEXT=" + given.context
        )
    place = "as a pod" if given.operator_image else "on this machine (OPERATOR_IMAGE is not set)"
    console.print(f"Using the cluster of context {given.context}; the operator runs {place}")
    return Stage((KUBECTL, f"--context={given.context}"), given.relay_image, given.operator_image)


def _without_node(stack: ExitStack, console: Console) -> Stage:
    console.print(
        "Not root, so there is no node and no pod can run. The demo shows the objects only."
    )
    with _step(console, "Start a control plane"):
        plane = stack.enter_context(ControlPlane.start())
    image = f"{images.REPOSITORY}/tokenplace-relay@sha256:{'0' * 64}"
    return Stage((KUBECTL, f"--kubeconfig={plane.kubeconfig}"), image, has_nodes=False)


def _install(stack: ExitStack, console: Console, stage: Stage) -> None:
    with _step(console, "Install the CRD"):
        install_crd(stage.run)
    with _step(console, "Install the operator and its RBAC"):
        stage.run("apply", "--filename=-", given=yaml.safe_dump_all(_operator_objects(stage)))
        if stage.operator_image:
            rollout = ("rollout", "status", f"deployment/{shipped.NAME}", "--timeout=90s")
            stage.run(f"--namespace={shipped.NAMESPACE}", *rollout)
        else:
            stack.enter_context(_operator_process(stage))


def _operator_objects(stage: Stage) -> list[dict[str, Any]]:
    if stage.operator_image:
        return shipped.manifests(operator_image=stage.operator_image)
    return shipped.rights()


@contextmanager
def _operator_process(stage: Stage) -> Iterator[None]:
    """Run the operator on this machine, with the rights of its ServiceAccount."""
    names = (shipped.NAME, f"--namespace={shipped.NAMESPACE}")
    token = stage.run("create", "token", *names).strip()
    config = yaml.safe_load(stage.run("config", "view", "--minify", "--raw"))
    config["users"][0]["user"] = {"token": token}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        program = str(Path(sys.executable).with_name("tokenplace-operator"))
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, "run", "--metrics-port=0"],
                env={**os.environ, "KUBECONFIG": str(path)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait(timeout=30)


def _show_relay(stack: ExitStack, console: Console, stage: Stage) -> bool:
    with _step(console, "Apply a TokenplaceRelay"):
        stage.run("apply", "--filename=-", given=yaml.safe_dump(_sample(stage)))
    if not stage.has_nodes:
        _wait_for_children(stage)
        _show(console, stage)
        console.print(
            "No pod can run here, so the relay was not probed. Run as root to see all of it."
        )
        return False
    _watch_until_ready(console, stage)
    _show(console, stage)
    kubectl = (*stage.kubectl, f"--namespace={NAMESPACE}")
    url = stack.enter_context(forwarded(kubectl, f"service/{NAME}", 80))
    console.print(f"\nThe relay answers at {url}")
    probe = [str(Path(sys.executable).with_name("tokenplace-relay")), "probe", url]
    return subprocess.run(probe, check=False).returncode == 0


def _sample(stage: Stage) -> dict[str, Any]:
    sample: dict[str, Any] = yaml.safe_load((ROOT / "deploy/examples/minimal.yaml").read_text())
    repository, _, digest = stage.relay_image.partition("@")
    sample["metadata"] |= {"name": NAME, "namespace": NAMESPACE}
    sample["spec"]["image"] = {"repository": repository, "digest": digest}
    return sample


def _watch_until_ready(console: Console, stage: Stage) -> None:
    """Print every change of the condition Ready until it is True."""
    started, last = time.monotonic(), ""
    path = '{range .status.conditions[?(@.type=="Ready")]}{.status} {.reason}: {.message}{end}'
    while True:
        now = stage.run("get", "tpr", NAME, f"--namespace={NAMESPACE}", f"--output=jsonpath={path}")
        if now != last:
            console.print(
                f"  {time.monotonic() - started:5.1f} s  Ready={now or '(no status yet)'}"
            )
            last = now
        if now.startswith("True"):
            return
        if time.monotonic() - started > READY_SECONDS:
            raise DemoError(f"The relay is not Ready after {READY_SECONDS:.0f} s: {now}")
        time.sleep(0.2)


def _wait_for_children(stage: Stage) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not stage.run(
        "get", "deployment", NAME, f"--namespace={NAMESPACE}", "--ignore-not-found"
    ):
        if time.monotonic() > deadline:
            raise DemoError(f"The operator created no Deployment within {READY_SECONDS:.0f} s")
        time.sleep(0.2)


def _show(console: Console, stage: Stage) -> None:
    selector = f"--selector=app.kubernetes.io/instance={NAME}"
    where = f"--namespace={NAMESPACE}"
    console.print("\n" + stage.run("get", "tpr", NAME, where, "--output=wide"))
    console.print(stage.run("get", CHILDREN, where, selector))


def _stay(console: Console, stage: Stage) -> None:
    kubectl = " ".join(stage.kubectl)
    console.print("\nTry these commands in another terminal:")
    for command in (
        f"get tpr {NAME} -o yaml",
        f"delete deployment {NAME}    # the operator creates it again",
        f"patch tpr {NAME} --type=merge -p '{DOMAIN_PATCH}'",
        f"logs deployment/{NAME}",
    ):
        console.print(f"  {kubectl} {command}", soft_wrap=True, markup=False)
    console.print("Press Ctrl-C to end the demo and remove everything.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("\nRemoving everything ...")


@contextmanager
def _step(console: Console, title: str) -> Iterator[None]:
    """Show a step while it runs, then its result and its duration."""
    started = time.monotonic()
    if not console.is_terminal:
        console.print(f"   {title} ...")
    try:
        with console.status(title):
            yield
    except BaseException:
        console.print(f"[red]failed[/red] {title} ({time.monotonic() - started:.1f} s)")
        raise
    console.print(f"[green]ok[/green] {title} ({time.monotonic() - started:.1f} s)")
