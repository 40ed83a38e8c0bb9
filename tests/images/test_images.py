"""The images as they are: what is in them, whose it is, and that they are the same every time."""

import json
import re
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tokenplace_cluster import images

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).parents[2]
PROBE = ROOT / ".ci" / "probe-image"
OURS_MIB = {"relay": 100, "operator": 190}
"""The most that our layers may take on a disk, on top of the base image."""
NOT_NEEDED = re.compile(
    r"(pip|uv|uvx|easy_install|wheel|gcc|g\+\+|cc|c\+\+|clang|ld|as|make|git|curl|wget|nc|ssh)[\d.]*"
)
WORLD_WRITABLE = {"tmp", "var/tmp", "run/lock"}

Object = dict[str, Any]


@dataclass(frozen=True)
class Built:
    """An image in an archive, and its files in a folder."""

    name: images.Name
    archive: Path
    root: Path
    config: Object
    layers: list[Object]


@pytest.fixture(scope="module", params=["relay", "operator"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp(request.param)
    archive = folder / "image.tar"
    images.archive(images.build(request.param), archive)
    root = folder / "root"
    root.mkdir()
    manifest, config = documents(archive)
    unpack = [str(PROBE), "--unpack", str(archive), f"linux/{config['architecture']}", str(root)]
    subprocess.run(unpack, check=True)
    return Built(request.param, archive, root, config["config"], manifest["layers"])


def documents(archive: Path) -> tuple[Object, Object]:
    """The manifest and the configuration of an archive with one image."""
    with tarfile.open(archive) as opened:

        def read(name: str) -> Object:
            file = opened.extractfile(name)
            assert file is not None
            loaded: Object = json.load(file)
            return loaded

        (entry,) = read("index.json")["manifests"]
        manifest = read(blob(entry["digest"]))
        return manifest, read(blob(manifest["config"]["digest"]))


def blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            yield path


def executables(root: Path) -> set[str]:
    folders = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "opt/tokenplace/bin")
    return {path.name for folder in folders for path in (root / folder).glob("*")}


def test_says_what_it_is_and_runs_as_nobody_in_particular(built: Built) -> None:
    labels = {
        key.removeprefix("org.opencontainers.image."): value
        for key, value in built.config["Labels"].items()
    }
    assert labels["licenses"] == "MIT"
    assert labels["revision"] == "local"
    assert labels["source"].startswith("https://github.com/")
    assert {"created", "version", "title", "description"} <= labels.keys()
    assert built.config["User"] == "1000:1000"
    assert built.config["Entrypoint"] == [f"tokenplace-{built.name}"]


def test_what_we_add_is_small(built: Built) -> None:
    size = sum(path.stat().st_size for path in files(built.root / "opt"))
    assert size / 2**20 < OURS_MIB[built.name]


def test_holds_no_tool_that_only_a_build_needs(built: Built) -> None:
    assert [name for name in executables(built.root) if NOT_NEEDED.fullmatch(name)] == []
    modules = {path.name.partition("-")[0] for path in built.root.glob("**/*-packages/*")}
    assert not {"pip", "setuptools", "wheel", "uv"} & modules


def test_brings_the_interpreter_and_its_own_program_only(built: Built) -> None:
    ours = {path.name for path in (built.root / "opt/tokenplace/bin").iterdir()}
    assert {name for name in ours if not name.startswith("python")} == {f"tokenplace-{built.name}"}


def test_its_files_belong_to_root_and_only_root_can_change_them(built: Built) -> None:
    writable = set()
    for path in files(built.root):
        found = path.stat()
        name = str(path.relative_to(built.root))
        assert found.st_uid != 1000, name
        assert found.st_gid != 1000, name
        if found.st_mode & stat.S_IWOTH and not stat.S_ISCHR(found.st_mode):
            writable.add(name)
        if name.startswith("opt/"):
            assert (found.st_uid, found.st_gid) == (0, 0), name
            assert not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH), name
    assert writable <= WORLD_WRITABLE


def test_lists_the_licence_of_everything_it_brings(built: Built) -> None:
    text = (built.root / "opt/tokenplace/LICENCES").read_text()
    listed = dict(line.split("\t")[::2] for line in text.partition("\n\n")[0].splitlines())
    metadata = built.root.glob("opt/tokenplace/lib/python*/site-packages/*.dist-info/METADATA")
    there = {re.findall(r"^Name: (.+)$", path.read_text(), re.MULTILINE)[0] for path in metadata}
    assert listed.keys() == there
    assert f"tokenplace-{built.name}" in there
    assert all(licence.strip() for licence in listed.values())
    assert "Permission is hereby granted" in text


def test_starts_carries_its_probe_and_stops(built: Built) -> None:
    done = probe(built.archive, built.name, documents(built.archive)[1]["architecture"])
    assert done.returncode == 0, done.stderr
    assert f"{built.name} on linux/" in done.stdout


@pytest.mark.parametrize("built", ["relay"], indirect=True)
def test_one_that_does_not_start_is_not_passed(built: Built) -> None:
    done = probe(built.archive, "operator", documents(built.archive)[1]["architecture"])
    assert done.returncode == 1
    assert "ended with code" in done.stderr


def test_a_platform_that_is_not_there_is_not_passed(built: Built) -> None:
    done = probe(built.archive, built.name, "riscv64")
    assert done.returncode == 1
    assert "holds no such platform" in done.stderr


def probe(archive: Path, name: str, architecture: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROBE), str(archive), name, f"linux/{architecture}"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_second_build_gives_the_same_layers(built: Built, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    images.archive(images.build(built.name, "again", anew=True), again)
    first, second = ([one["digest"] for one in layers] for layers in layer_lists(built, again))
    assert first == second


def layer_lists(built: Built, again: Path) -> tuple[list[Object], list[Object]]:
    manifest, config = documents(again)
    assert config["config"]["Labels"]["org.opencontainers.image.revision"] == "again"
    return built.layers, manifest["layers"]
