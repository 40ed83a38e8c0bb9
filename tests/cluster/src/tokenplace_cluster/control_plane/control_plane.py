"""A real control plane: etcd, API server, controller manager and scheduler. No root needed."""

import contextlib
import fcntl
import json
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Self

from tokenplace_cluster.control_plane import audit, kubeconfig
from tokenplace_cluster.control_plane.certificates import Authority, Pair, create_token_key
from tokenplace_cluster.control_plane.crds import wait_until_established
from tokenplace_cluster.node.cleanup import Record, clean_abandoned
from tokenplace_cluster.programs.build import program
from tokenplace_cluster.programs.service import Service

KUBECTL: Final = str(Path(sys.executable).with_name("kubectl"))
"""The version that uv.lock pins."""

READY_SECONDS: Final = 60.0
_LOOPBACK: Final = "127.0.0.1"
_MASTERS: Final = "system:masters"
_PORTS: Final = range(16000, 30000)
"""Below the NodePorts and below the ephemeral ports of Linux."""


@dataclass(slots=True)
class ControlPlane:
    """The running components; all their files are below directory."""

    directory: Path
    address: str
    services_range: str
    authority: Authority
    record: Record
    _ports: dict[str, int] = field(default_factory=dict)
    _components: dict[str, Service] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path | None = None,
        *,
        address: str = _LOOPBACK,
        services_range: str = "10.96.0.0/24",
        record: Record | None = None,
    ) -> Iterator[Self]:
        """Start all components on free ports of an address and wait until they work.

        record: of a cluster that cleans up for all of its parts. A directory may be used again
        and keeps its data. Raises DirectoryInUseError while another process uses it.
        """
        with ExitStack() as stack:
            folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(_claimed(folder))
            if record is None:
                clean_abandoned()
                record = Record.create(folder)
                stack.callback(record.undo)
            authority = Authority.create(folder / "pki")
            plane = cls(folder, address, services_range, authority, record)
            stack.callback(plane._stop)
            plane._start()
            yield plane

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{self.address}:{self._ports['kube-apiserver']}"

    @property
    def client_ca(self) -> Path:
        """The CA certificate of all client and server certificates."""
        return self.authority.certificate

    @property
    def audit_log(self) -> Path:
        return self.directory / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator."""
        return self.user_kubeconfig("admin", [_MASTERS])

    def binary(self, name: str) -> Path:
        """The path of a Kubernetes program."""
        return program(name)

    def user_kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with a client certificate for a user in groups."""
        path = self.directory / f"{user.replace(':', '-')}.kubeconfig"
        if not path.exists():
            pair = self.authority.issue(path.stem, user, groups=groups)
            files = {
                "client-certificate": str(pair.certificate),
                "client-key": str(pair.key),
            }
            kubeconfig.write(path, server=self.url, authority=self.client_ca, user=files)
        return path

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a token of an existing ServiceAccount, valid for one hour."""
        token = self.kubectl("create", "token", name, f"--namespace={namespace}").strip()
        path = self.directory / f"{namespace}-{name}.kubeconfig"
        user = {"token": token}
        return kubeconfig.write(path, server=self.url, authority=self.client_ca, user=user)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run kubectl as the administrator and return its output. Raises KubectlError."""
        done = subprocess.run(
            [KUBECTL, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def wait_established(self, crd: str) -> None:
        """Wait until a CRD is established."""
        wait_until_established(self.kubectl, crd)

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stop the API server, with SIGKILL if kill is set; the data stays in etcd."""
        # It stays in the list, so that at the end it still stops after the clients that watch it.
        self._components["kube-apiserver"].stop(seconds=3, kill=kill)

    def start_apiserver(self) -> None:
        """Start the API server again on the same address and port."""
        self._launch("kube-apiserver", self._apiserver_flags())
        self._wait_until_ready()

    def _start(self) -> None:
        for name in ("kube-apiserver", "etcd", "etcd-peer", "controllers", "scheduler"):
            self._ports[name] = _free_port(self.address)
        # Kubeconfigs of an earlier run have another port and another CA.
        for stale in self.directory.glob("*.kubeconfig"):
            stale.unlink()
        (self.directory / "audit-policy.json").write_text(json.dumps(audit.POLICY))
        create_token_key(self.directory / "pki")
        self._launch("etcd", self._etcd_flags())
        self._launch("kube-apiserver", self._apiserver_flags())
        self._launch("kube-controller-manager", self._controller_flags())
        self._launch("kube-scheduler", self._scheduler_flags())
        self._wait_until_ready()
        self._wait_for_default_service_account()

    def _stop(self) -> None:
        for component in reversed(self._components.values()):
            component.stop(seconds=2)

    def _launch(self, name: str, flags: Sequence[str]) -> None:
        command = [str(program(name)), *flags]
        log = self.directory / f"{name}.log"
        self._components[name] = Service.start(name, command, log=log, record=self.record)

    def _etcd_flags(self) -> list[str]:
        client, peer = (f"http://{self.address}:{self._ports[n]}" for n in ("etcd", "etcd-peer"))
        return [
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
            # The data need not survive a crash.
            "--unsafe-no-fsync",
        ]

    def _apiserver_flags(self) -> list[str]:
        server = self._server_certificate()
        client = self.authority.issue("kubelet-client", "kube-apiserver", groups=[_MASTERS])
        tokens = self.directory / "pki" / "service-accounts.key"
        # Pods find the API server by its Endpoints, which cannot hold a loopback address.
        reconciler = "none" if self.address == _LOOPBACK else "master-count"
        return [
            f"--etcd-servers=http://{self.address}:{self._ports['etcd']}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self._ports['kube-apiserver']}",
            f"--endpoint-reconciler-type={reconciler}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={self.client_ca}",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            f"--service-cluster-ip-range={self.services_range}",
            f"--audit-log-path={self.audit_log}",
            f"--audit-policy-file={self.directory / 'audit-policy.json'}",
            "--allow-privileged",
            # Stop at once: its clients are test programs that reconnect.
            "--shutdown-delay-duration=0s",
        ]

    def _server_certificate(self) -> Pair:
        first_service = str(ip_network(self.services_range)[1])
        return self.authority.issue(
            "kube-apiserver",
            "kube-apiserver",
            names=["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
            addresses=sorted({self.address, _LOOPBACK, first_service}),
        )

    def _controller_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.user_kubeconfig('system:kube-controller-manager')}",
            f"--bind-address={self.address}",
            f"--secure-port={self._ports['controllers']}",
            f"--cert-dir={self.directory / 'pki'}",
            "--leader-elect=false",
            "--use-service-account-credentials",
            f"--root-ca-file={self.client_ca}",
            f"--service-account-private-key-file={self.directory / 'pki/service-accounts.key'}",
        ]

    def _scheduler_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.user_kubeconfig('system:kube-scheduler')}",
            f"--bind-address={self.address}",
            f"--secure-port={self._ports['scheduler']}",
            f"--cert-dir={self.directory / 'pki'}",
            "--leader-elect=false",
        ]

    def _wait_until_ready(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.client_ca))

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", context=trust, timeout=2) as got:
                    return bool(got.status == 200)
            except urllib.error.HTTPError as error:
                error.close()
                return False
            except OSError:
                return False

        self._components["kube-apiserver"].wait_until(ready, seconds=READY_SECONDS)

    def _wait_for_default_service_account(self) -> None:
        """Pods need it, and it is the first object that the controllers create."""

        def made() -> bool:
            with contextlib.suppress(KubectlError):
                return bool(self.kubectl("get", "serviceaccount", "default", "--output=name"))
            return False

        manager = self._components["kube-controller-manager"]
        manager.wait_until(made, seconds=READY_SECONDS)


class KubectlError(RuntimeError):
    """kubectl failed; the message is from kubectl."""


class DirectoryInUseError(RuntimeError):
    """Another process runs a control plane in the same directory."""


@contextmanager
def _claimed(directory: Path) -> Iterator[None]:
    """Lock a directory; the kernel releases the lock when this process ends."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DirectoryInUseError(f"{directory}: a control plane already runs here") from error
        yield


def _free_port(address: str) -> int:
    """A port that no outgoing connection can take before the server does."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((address, random.choice(_PORTS)))
            return int(probe.getsockname()[1])
