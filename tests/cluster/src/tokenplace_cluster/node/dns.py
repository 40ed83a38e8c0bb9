"""CoreDNS for pods: Services, ExternalName targets and extra names of a test."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tokenplace_cluster.node.cleanup import Record
from tokenplace_cluster.programs.service import Service

DOMAIN: Final = "cluster.local"

CLUSTER_ROLE: Final[Mapping[str, object]] = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "system:coredns"},
    "rules": [
        {
            "apiGroups": [""],
            "resources": ["services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
    ],
}
"""The rights of CoreDNS, as in its own deployment manifests."""

# Other names are refused: tests must not depend on public DNS.
_COREFILE = """\
.:53 {{
    bind {address}
    errors
    health {address}:8053
    ready {address}:8153
    hosts {hosts} {{
        ttl 5
        reload 250ms
        fallthrough
    }}
    kubernetes {domain} {{
        kubeconfig {kubeconfig}
        ttl 5
    }}
}}
"""


@dataclass(slots=True)
class Dns:
    """A running CoreDNS, on port 53 of an address that pods reach."""

    address: str
    hosts_file: Path
    _service: Service

    @classmethod
    def start(
        cls,
        directory: Path,
        address: str,
        *,
        kubeconfig: Path,
        binary: Path,
        record: Record,
        hosts: Mapping[str, str] | None = None,
    ) -> Self:
        """Start CoreDNS and wait until it has read the cluster's Services."""
        directory.mkdir(parents=True)
        hosts_file = directory / "hosts"
        _write_hosts(hosts_file, hosts or {})
        corefile = directory / "Corefile"
        corefile.write_text(
            _COREFILE.format(
                address=address, hosts=hosts_file, domain=DOMAIN, kubeconfig=kubeconfig
            )
        )
        service = Service.start(
            "coredns",
            [str(binary), "-conf", str(corefile)],
            log=directory / "coredns.log",
            record=record,
        )
        service.wait_until(lambda: _answers(address, 8153), seconds=30)
        return cls(address, hosts_file, service)

    def set_hosts(self, hosts: Mapping[str, str]) -> None:
        """Replace the extra records, name -> address; takes effect within a second."""
        _write_hosts(self.hosts_file, hosts)

    def stop(self) -> None:
        self._service.stop()


def _write_hosts(path: Path, hosts: Mapping[str, str]) -> None:
    path.write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))


def _answers(address: str, port: int) -> bool:
    """Whether /ready answers 200, which it does once the kubernetes plugin has synced."""
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
