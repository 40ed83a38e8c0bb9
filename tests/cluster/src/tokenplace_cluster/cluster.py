"""A cluster on this machine: control plane, image registry, CoreDNS and one node."""

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tokenplace_cluster.control_plane.control_plane import KUBECTL, ControlPlane
from tokenplace_cluster.node.cleanup import Record, clean_abandoned
from tokenplace_cluster.node.dns import CLUSTER_ROLE, Dns
from tokenplace_cluster.node.machine import Machine
from tokenplace_cluster.node.network import Network, add_test_address
from tokenplace_cluster.node.node import Node, NodeFiles
from tokenplace_cluster.programs.build import program
from tokenplace_cluster.programs.debian import NODE_PROGRAMS, require_packages
from tokenplace_cluster.programs.registry import Registry

READY_SECONDS: Final = 60
REGISTRY_PORT: Final = 5000
DNS_USER: Final = "system:coredns"


@dataclass(slots=True)
class Cluster:
    """A running cluster with one node."""

    directory: Path
    network: Network
    control_plane: ControlPlane
    registry: Registry
    dns: Dns
    node: Node

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path | None = None,
        *,
        hosts: Mapping[str, str] | None = None,
    ) -> Iterator[Self]:
        """Start a cluster, wait until its node is Ready, and remove all of it at the end.

        hosts: extra DNS records for pods, name -> address.
        """
        clean_abandoned()
        require_packages(NODE_PROGRAMS)
        with ExitStack() as stack:
            folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            record = Record.create(folder)
            stack.callback(record.undo)
            stack.enter_context(_sigterm_as_exit())
            cluster = cls._start(stack, folder, record, hosts or {})
            wait_until_ready(cluster.node, cluster.kubeconfig)
            yield cluster

    @classmethod
    def _start(
        cls, stack: ExitStack, folder: Path, record: Record, hosts: Mapping[str, str]
    ) -> Self:
        # Stopped last: the control plane's address is on the link to the machine.
        machine = Machine.start(folder / "node", record)
        stack.callback(machine.stop)
        network = machine.network
        plane = stack.enter_context(
            ControlPlane.start(
                folder / "control-plane",
                address=network.gateway,
                services_range=network.services,
                record=record,
            )
        )
        registry = Registry.start(
            folder / "registry",
            f"{network.gateway}:{REGISTRY_PORT}",
            binary=program("registry"),
            record=record,
        )
        stack.callback(registry.stop)
        dns = Dns.start(
            folder / "dns",
            network.gateway,
            kubeconfig=_dns_kubeconfig(plane),
            binary=program("coredns"),
            record=record,
            hosts=hosts,
        )
        stack.callback(dns.stop)
        files = _node_files(plane, machine)
        node = Node.start(machine, files, registry=registry.address, dns=dns.address)
        return cls(folder, network, plane, registry, dns, node)

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator."""
        return self.control_plane.kubeconfig

    def push_witness(self) -> str:
        """Push the test program that runs in pods; return its reference by digest."""
        binary = program("witness").read_bytes()
        return self.registry.push_binary("witness", binary, entrypoint="/witness")

    def add_test_address(self, last: int) -> str:
        """Add an address of this machine that pods reach, for a server outside the cluster."""
        return add_test_address(self.network, last)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Make SIGTERM unwind the stack as Ctrl-C does, if this is the main thread."""
    usable = threading.current_thread() is threading.main_thread()
    if not usable or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def wait_until_ready(node: Node, kubeconfig: Path) -> None:
    """Wait until the node is Ready and the namespace default can take pods."""
    deadline = time.monotonic() + READY_SECONDS
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    for expected, query in (
        ("True", ["node", node.name, f"-ojsonpath={ready}"]),
        ("serviceaccount/default", ["serviceaccount", "default", "-oname"]),
    ):
        while _get(kubeconfig, query) != expected:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {query[0]} after {READY_SECONDS} s\n{node.machine.logs()}")
            time.sleep(0.2)


def _get(kubeconfig: Path, query: list[str]) -> str:
    command = [KUBECTL, f"--kubeconfig={kubeconfig}", "get", *query]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _node_files(plane: ControlPlane, machine: Machine) -> NodeFiles:
    return NodeFiles(
        kubelet=plane.binary("kubelet"),
        kube_proxy=plane.binary("kube-proxy"),
        pause=program("pause"),
        client_ca=plane.client_ca,
        kubelet_kubeconfig=plane.user_kubeconfig(f"system:node:{machine.name}", ["system:nodes"]),
        kube_proxy_kubeconfig=plane.user_kubeconfig("system:kube-proxy"),
    )


def _dns_kubeconfig(plane: ControlPlane) -> Path:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": DNS_USER},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": DNS_USER,
        },
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": DNS_USER},
        ],
    }
    documents = {"apiVersion": "v1", "kind": "List", "items": [CLUSTER_ROLE, binding]}
    subprocess.run(
        [KUBECTL, f"--kubeconfig={plane.kubeconfig}", "apply", "--filename=-"],
        input=json.dumps(documents).encode(),
        check=True,
        capture_output=True,
    )
    return plane.user_kubeconfig(DNS_USER)
