"""The relay from its arm64 wheels, as on a Raspberry Pi, under QEMU's user-mode emulation.

The wheels are those of the lock file; Python is Debian's. The image itself is started on both
architectures by the build in CI: its base image cannot be fetched where the tests run.
"""

import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tokenplace_cluster.fixtures import Eventually
from tokenplace_cluster.programs.debian import IMAGE_PROGRAMS, require_packages

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
RELEASE, PYTHON = "bookworm", "3.11"
START_SECONDS = 300
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")


def run(*command: str | Path, folder: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with QEMU, Debian's Python for arm64, and the relay's wheels."""
    require_packages(IMAGE_PROGRAMS)
    folder = tmp_path_factory.mktemp("arm64")
    include = "--include=python3,libssl3"
    root = folder / "root"
    run("mmdebstrap", "--quiet", "--arch=arm64", "--variant=extract", include, RELEASE, root)
    run("apt-get", "download", "qemu-user-static", folder=folder)
    (package,) = folder.glob("qemu-user-static_*.deb")
    run("dpkg", "--extract", package, folder / "qemu")
    wheels(folder)
    return folder


def wheels(folder: Path) -> None:
    """Install the locked wheels of the other architecture; nothing is compiled."""
    flags = ("--locked", "--no-dev", "--no-emit-workspace", "--package=tokenplace-relay")
    (folder / "requirements.txt").write_text(run(UV, "export", "--quiet", *flags))
    install = (UV, "pip", "install", "--quiet", f"--python-version={PYTHON}", "--target=site")
    other = ("--python-platform=aarch64-manylinux_2_28", "--only-binary=:all:", "--require-hashes")
    run(*install, *other, "--requirement=requirements.txt", folder=folder)
    built = ("--no-deps", "--no-build-isolation", f"--python={sys.executable}")
    run(*install, *built, ROOT / "relay", folder=folder)


@contextmanager
def emulated(machine: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run Debian's Python of the other architecture."""
    root = machine / "root"
    places = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": str(machine / "site")}
    emulator = machine / "qemu" / "usr" / "bin" / "qemu-aarch64-static"
    with subprocess.Popen(
        [emulator, "-L", root, root / "usr" / "bin" / f"python{PYTHON}", *arguments],
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **places, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def answers(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0


def is_up(relay: subprocess.Popen[str], url: str) -> bool:
    if relay.poll() is not None:
        pytest.fail(relay.communicate()[0])
    return answers(url) == 200


def test_the_relay_serves_on_arm64_and_stops_on_sigterm(
    machine: Path, eventually: Eventually
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code = (
        "import platform; print(platform.machine(), flush=True); import tokenplace_relay.main as m"
    )
    settings = {"RELAY_HOST": "127.0.0.1", "RELAY_PORT": str(port)}
    with emulated(machine, "-c", f"{code}; m.cli()", "serve", **settings) as relay:
        assert relay.stdout is not None
        assert relay.stdout.readline() == "aarch64\n"
        eventually(lambda: is_up(relay, f"http://127.0.0.1:{port}/livez"), seconds=START_SECONDS)
        assert answers(f"http://127.0.0.1:{port}/healthz") == 200
        relay.terminate()
        assert relay.wait(timeout=120) == 0, relay.stdout.read()
