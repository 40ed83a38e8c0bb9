"""The node's first process: it mounts the node's view of the machine, then reaps children.

It runs as PID 1 of new mount, PID, network and UTS namespaces, with the node's folder and name as
arguments. It prints "ready" and runs until its standard input ends, which happens when its driver
stops it or dies. All processes, mounts and network devices of the node end with it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

KERNEL_TUNABLES: Final[Mapping[str, int]] = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
"""The values that the kubelet requires (pkg/util/sysctl of Kubernetes).

The kubelet reads them from mounted files, so the kernel of this machine keeps its own.
"""


def main(folder: Path, name: str) -> None:
    """Set up the node, print "ready", and wait for the end of standard input."""
    socket.sethostname(name)
    mount_view(folder)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    signal.signal(signal.SIGCHLD, _collect)
    print("ready", flush=True)
    sys.stdin.read()


def mount_view(folder: Path) -> None:
    """Mount the node's own folders where its programs write to fixed paths."""
    _mount("--make-rshared", "/")
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    _mount("--bind", str(_made(folder / "log")), "/var/log")
    upper, work = _made(folder / "lib"), _made(folder / "lib.work")
    _mount(
        "-t", "overlay", "overlay", "-o",
        f"lowerdir=/var/lib,upperdir={upper},workdir={work}", "/var/lib",
    )  # fmt: skip
    tunables = _made(folder / "sysctl")
    for key, value in KERNEL_TUNABLES.items():
        shown = tunables / key.replace("/", ".")
        shown.write_text(f"{value}\n")
        if Path("/proc/sys", key).exists():
            _mount("--bind", str(shown), f"/proc/sys/{key}")


def _collect(_signal: int, _frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
