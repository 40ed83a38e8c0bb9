"""`.ci/inspect-image` rejects each fault, here in a small tree that is otherwise correct."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "inspect-image"
SITE = "opt/tokenplace/lib/python3.13/site-packages"


def write(root: Path, name: str, text: str = "", mode: int = 0o644) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a correct image."""
    root = tmp_path / "root"
    for name in ("python3", "python3.13", "tokenplace-relay"):
        write(root, f"opt/tokenplace/bin/{name}", mode=0o755)
    write(root, f"{SITE}/aiohttp-3.dist-info/METADATA", "Metadata-Version: 2.4\nName: aiohttp\n")
    write(root, "opt/tokenplace/LICENCES", "aiohttp\t3\tApache-2.0\n\nThe texts\n")
    write(root, "usr/bin/perl", mode=0o755)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    return root


def inspect(root: Path, name: str = "relay") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, "--unpacked", root, name], capture_output=True, text=True, check=False
    )


def test_a_correct_tree_passes(root: Path) -> None:
    done = inspect(root)
    assert (done.returncode, done.stdout) == (0, "relay: inspected\n"), done.stderr


def own(path: Path) -> None:
    os.chown(path, 1000, 0)


def large(root: Path) -> None:
    with write(root, "opt/tokenplace/lib/model.bin").open("wb") as file:
        file.truncate(101 * 2**20)


FAULTS: dict[str, Callable[[Path], object]] = {
    "/usr/bin/curl is a tool that only a build needs": lambda root: write(root, "usr/bin/curl"),
    "/usr/local/bin/pip3.13 is a tool": lambda root: write(root, "usr/local/bin/pip3.13"),
    "pip-25.dist-info is a module that only": lambda root: (
        root / "usr/local/lib/python3.13/site-packages/pip-25.dist-info"
    ).mkdir(parents=True),
    "/opt/tokenplace/bin has normalizer, tokenplace-relay": lambda root: write(
        root, "opt/tokenplace/bin/normalizer"
    ),
    "/opt/tokenplace/LICENCES does not belong to root": lambda root: os.chown(
        root / "opt/tokenplace/LICENCES", 1, 1
    ),
    "/usr/bin/perl belongs to 1000": lambda root: own(root / "usr/bin/perl"),
    "/etc/shadow can be changed by every user": lambda root: write(root, "etc/shadow", mode=0o666),
    "/opt/x can be changed by its group": lambda root: write(root, "opt/x", mode=0o664),
    "the licence of yarl is not listed": lambda root: write(
        root, f"{SITE}/yarl-1.dist-info/METADATA", "Name: yarl\n"
    ),
    "the licence of aiohttp is not listed": lambda root: write(
        root, "opt/tokenplace/LICENCES", "aiohttp\t3\t\n\n"
    ),
    "the licence of gone is of nothing here": lambda root: write(
        root, "opt/tokenplace/LICENCES", "aiohttp\t3\tMIT\ngone\t1\tMIT\n\n"
    ),
    "/opt takes 101 MiB, and may take 100": large,
}


@pytest.mark.parametrize(("message", "spoil"), FAULTS.items(), ids=FAULTS)
def test_each_fault_is_reported(root: Path, message: str, spoil: Callable[[Path], object]) -> None:
    spoil(root)
    done = inspect(root)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert message in line


def test_the_program_of_one_image_is_unexpected_in_the_other(root: Path) -> None:
    assert "/opt/tokenplace/bin has tokenplace-relay" in inspect(root, "operator").stderr


@pytest.mark.parametrize("arguments", [[], ["--unpacked", "/"], ["a.tar", "model", "linux/amd64"]])
def test_wrong_arguments_print_the_usage(arguments: list[str]) -> None:
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage" in done.stderr
