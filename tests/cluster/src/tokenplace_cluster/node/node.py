"""Runs containerd, kubelet and kube-proxy on the machine of a node. Root only."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tokenplace_cluster.node.containerd import SOCKET, write_configuration, write_pause_archive
from tokenplace_cluster.node.dns import DOMAIN
from tokenplace_cluster.node.machine import Machine
from tokenplace_cluster.node.network import cni_configuration

KUBELET_PORT: Final = 10250


@dataclass(frozen=True, slots=True)
class NodeFiles:
    """The programs and credentials of a node."""

    kubelet: Path
    kube_proxy: Path
    pause: Path
    client_ca: Path
    """The CA of the API server's client certificate, for logs and exec."""
    kubelet_kubeconfig: Path
    """Of the user system:node:<node name> in the group system:nodes."""
    kube_proxy_kubeconfig: Path
    """Of the user system:kube-proxy."""


@dataclass(slots=True)
class Node:
    """A running node, which stops with its machine; name is that of its Node object."""

    name: str
    machine: Machine

    @classmethod
    def start(cls, machine: Machine, files: NodeFiles, *, registry: str, dns: str) -> Self:
        """Start the programs of the node; its Node object becomes Ready a moment later.

        registry: host:port of the image registry. dns: the address of the pods' DNS server.
        """
        _start_containerd(machine, files, registry)
        _start_kubelet(machine, files, dns)
        _start_kube_proxy(machine, files)
        return cls(machine.name, machine)

    def ctr(self, *arguments: str) -> str:
        """Run containerd's client on the node, in the namespace of Kubernetes."""
        return self.machine.run("ctr", "--namespace", "k8s.io", *arguments)


def _start_containerd(machine: Machine, files: NodeFiles, registry: str) -> None:
    folder = _made(machine.folder / "containerd")
    cni = _made(machine.folder / "cni")
    (cni / "10-pods.conflist").write_text(cni_configuration(machine.network, cni / "addresses"))
    configuration = write_configuration(folder, cni=cni, registry=registry)
    command = ("containerd", "--config", str(configuration))
    service = machine.start_service("containerd", *command, log=folder / "containerd.log")
    socket = Path(f"/proc/{machine.pid}/root{SOCKET}")
    service.wait_until(socket.exists, seconds=20)
    archive = write_pause_archive(folder, files.pause)
    machine.run("ctr", "--namespace", "k8s.io", "images", "import", str(archive))


def _start_kubelet(machine: Machine, files: NodeFiles, dns: str) -> None:
    folder = _made(machine.folder / "kubelet")
    (folder / "resolv.conf").write_text(f"nameserver {dns}\n")
    configuration = folder / "config.json"
    configuration.write_text(json.dumps(_kubelet_configuration(machine, files, folder, dns)))
    command = (
        str(files.kubelet),
        f"--config={configuration}",
        f"--kubeconfig={files.kubelet_kubeconfig}",
        f"--hostname-override={machine.name}",
        f"--node-ip={machine.network.node}",
        f"--root-dir={folder / 'root'}",
        f"--cert-dir={folder / 'pki'}",
    )
    machine.start_service("kubelet", *command, log=folder / "kubelet.log")


def _kubelet_configuration(
    machine: Machine, files: NodeFiles, folder: Path, dns: str
) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": machine.network.node,
        "port": KUBELET_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(files.client_ca)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{machine.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDomain": DOMAIN,
        "clusterDNS": [dns],
        "resolvConf": str(folder / "resolv.conf"),
        "podLogsDir": "/var/log/pods",
        "staticPodPath": "",
        # A nearly full test machine must not evict pods, or test failures mislead.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        # A change of readiness must reach the API server within a second.
        "syncFrequency": "5s",
        "nodeStatusUpdateFrequency": "4s",
        "shutdownGracePeriod": "0s",
        "registerNode": True,
    }


def _start_kube_proxy(machine: Machine, files: NodeFiles) -> None:
    folder = _made(machine.folder / "kube-proxy")
    command = (
        str(files.kube_proxy),
        "--proxy-mode=nftables",
        f"--kubeconfig={files.kube_proxy_kubeconfig}",
        f"--hostname-override={machine.name}",
        f"--cluster-cidr={machine.network.pods}",
        # Connection tracking is limited for the whole machine, not by this node.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    )
    machine.start_service("kube-proxy", *command, log=folder / "kube-proxy.log")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
