"""The node's machine: namespaces of its own on this one, and a link to it. Root only."""

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

# The node covers these with its own; what lies below them would be out of its sight.
COVERED: Final = tuple(Path(one) for one in ("/run", "/var/run", "/var/lib", "/var/log"))


class MachineError(RuntimeError):
    """The node's machine cannot be made here; the message has the cause."""


@dataclass(slots=True)
class Machine:
    """A first process in namespaces of its own, and the network that reaches them."""

    folder: Path
    name: str
    network: Network
    cgroup: str
    pid: int
    """Of the first process, as this machine numbers it."""
    record: Record
    _holder: subprocess.Popen[str]
    _services: list[Service] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, record: Record) -> Self:
        """Make the namespaces and the link; folder holds all the node writes."""
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
        """Run a command on the node and return its output; raise with its error when it fails."""
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
        """Start a long-running program on the node; it ends with the machine."""
        service = Service.start(name, self.inside(*command), log=log, record=self.record)
        self._services.append(service)
        return service

    def logs(self) -> str:
        """The ends of the logs of its programs, for a failure message."""
        return "\n\n".join(f"== {one.name}\n{one.tail()}" for one in self._services)

    def stop(self) -> None:
        """End the first process, and with it all that runs, is mounted or linked on the node."""
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
            # Ctrl-C is for the driver, which then stops the node in order.
            start_new_session=True,
        )  # fmt: skip


def _first_process(holder: subprocess.Popen[str]) -> int:
    assert holder.stdout is not None
    with holder.stdout as output:
        ready = output.readline().strip() == "ready"
    if not ready:
        holder.kill()
        holder.wait()
        raise MachineError("the node's first process failed; its folder's init.log says why")
    children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text()
    return int(children.split()[0])
