"""The machine of a node: namespaces on this machine, and a network link to them. Root only."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tokenplace_cluster.node import network
from tokenplace_cluster.node.cleanup import Record, create_cgroup, held_links
from tokenplace_cluster.node.network import Network
from tokenplace_cluster.programs.service import Service

# The node mounts its own folders here, so the cluster's folder must not lie below.
COVERED: Final = tuple(Path(path) for path in ("/run", "/var/run", "/var/lib", "/var/log"))


class MachineError(RuntimeError):
    """The machine of the node cannot be created; the message gives the reason."""


@dataclass(slots=True)
class Machine:
    """A first process in namespaces of its own, and the network that connects them."""

    folder: Path
    name: str
    network: Network
    cgroup: str
    pid: int
    """The first process, as a pid of this machine."""
    record: Record
    _holder: subprocess.Popen[str]
    _services: list[Service] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, record: Record) -> Self:
        """Create the namespaces and the link; folder holds everything that the node writes."""
        _check(folder)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"tokenplace-node-{record.path.stem}"
        record.add(cgroup=name, folder=folder)
        holder = _unshare(folder, name)
        record.add_process(holder.pid)
        pid = _first_process(holder)
        record.add_process(pid)
        connected = network.connect(pid, held_links())
        record.add(link=connected.link)
        create_cgroup(name)
        return cls(folder, name, connected, name, pid, record, holder)

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command on the node."""
        namespaces = ("--mount", "--net", "--pid", "--uts")
        return ["nsenter", f"--target={self.pid}", *namespaces, "--", *command]

    def run(self, *command: str, timeout_seconds: float = 60) -> str:
        """Run a command on the node and return its output; raises MachineError if it fails."""
        done = subprocess.run(
            self.inside(*command),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        if done.returncode != 0:
            raise MachineError(f"{command[0]} failed on the node: {done.stderr.strip()}")
        return done.stdout

    def start_service(self, name: str, *command: str, log: Path) -> Service:
        """Start a long-running program on the node; it stops with the machine."""
        service = Service.start(name, self.inside(*command), log=log, record=self.record)
        self._services.append(service)
        return service

    def logs(self) -> str:
        """The last log lines of its programs, for a failure message."""
        return "\n\n".join(f"== {service.name}\n{service.tail()}" for service in self._services)

    def stop(self) -> None:
        """End the first process, and with it all processes, mounts and links of the node."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=30)
        for service in self._services:
            service.stop()


def _check(folder: Path) -> None:
    if os.geteuid() != 0:
        raise MachineError("a node needs root: run as root, or use a control plane alone")
    for covered in COVERED:
        if folder.resolve().is_relative_to(covered):
            raise MachineError(f"the cluster's directory {folder} must not lie below {covered}")
    if len(str(folder)) > 200:
        raise MachineError(f"the cluster's directory is too long a path: {folder}")


def _unshare(folder: Path, name: str) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "tokenplace_cluster.node.node_init", str(folder), name]
    with (folder / "init.log").open("w") as log:
        return subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--mount-proc",
             "--kill-child", "--", *program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C must reach only the driver, which stops the node in order.
            start_new_session=True,
        )  # fmt: skip


def _first_process(holder: subprocess.Popen[str]) -> int:
    assert holder.stdout is not None
    with holder.stdout as output:
        ready = output.readline().strip() == "ready"
    if not ready:
        holder.kill()
        holder.wait()
        raise MachineError("the node's first process failed; see init.log in the node's folder")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text()
    return int(children.split()[0])
