"""Installs the Debian packages that a node or an image build needs."""

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
    # Verifies Debian's signatures; Ubuntu does not install it by default.
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

# The PATH of a root shell may lack the sbin directories.
SEARCH_PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


class MissingPackagesError(RuntimeError):
    """Programs are missing, and this process cannot install them."""


def missing_packages(programs: Mapping[str, str]) -> list[str]:
    """The packages whose programs are not installed, sorted."""
    return sorted({package for program, package in programs.items() if not _is_there(program)})


def _is_there(program: str) -> bool:
    if program.startswith("/"):
        return Path(program).exists()
    return shutil.which(program, path=SEARCH_PATH) is not None


def require_packages(programs: Mapping[str, str]) -> list[str]:
    """Install missing packages with apt-get; return the names of those that were missing.

    Raises MissingPackagesError without apt-get or without root.
    """
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
    _apt_get("install", "--yes", "--no-install-recommends", *packages)
    if still := missing_packages(programs):
        raise MissingPackagesError(f"apt-get installed no program for: {' '.join(still)}")
    return packages


def _apt_get(*arguments: str) -> None:
    # RUNLEVEL=1 keeps a package from starting its services.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    result = subprocess.run(
        ["apt-get", "-q", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        tail = "\n".join((result.stdout + result.stderr).splitlines()[-15:])
        raise MissingPackagesError(f"apt-get {arguments[0]} failed:\n{tail}")
