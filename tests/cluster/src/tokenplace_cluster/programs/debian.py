"""Debian's packages that a node needs, installed when they are missing."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

NODE_PROGRAMS: Final[Mapping[str, str]] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""The program (a name on PATH, or the path of a file) -> the package that brings it."""

PUBLISH_PROGRAMS: Final[Mapping[str, str]] = {"skopeo": "skopeo"}
IMAGE_PROGRAMS: Final[Mapping[str, str]] = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    # What is signed by Debian is checked with this; Ubuntu does not have it from the start.
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

# A root shell without the sbin directories would miss what is there.
SEARCH_PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


class MissingPackagesError(RuntimeError):
    """Programs are missing that this machine cannot or may not install."""


def missing_packages(programs: Mapping[str, str]) -> list[str]:
    """The packages whose programs are not on this machine, each once, in a stable order."""
    return sorted({package for program, package in programs.items() if not _is_there(program)})


def _is_there(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=SEARCH_PATH) is not None


def require_packages(programs: Mapping[str, str]) -> list[str]:
    """Install what is missing with apt-get, saying so; return the names of what was installed."""
    packages = missing_packages(programs)
    if not packages:
        return []
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise MissingPackagesError(
            f"missing: {wanted}. This machine has no apt-get: install them with its own tools."
        )
    if os.geteuid() != 0:
        raise MissingPackagesError(
            f"missing: {wanted}. Run as root, or install them first: "
            f"sudo apt-get install --no-install-recommends {wanted}"
        )
    print(f"Installing Debian packages: {wanted}", flush=True)
    _apt_get("update")
    # The services that a package would start are not ours to run.
    _apt_get("install", "--yes", "--no-install-recommends", *packages)
    if still := missing_packages(programs):
        raise MissingPackagesError(f"apt-get installed no program for: {' '.join(still)}")
    return packages


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    result = subprocess.run(
        ["apt-get", "-q", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise MissingPackagesError(f"apt-get {arguments[0]} failed:\n{tail}")
