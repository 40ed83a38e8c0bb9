"""The built images: their labels, files and licences; they start, and builds are reproducible."""

import json
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tokenplace_cluster.programs import images

pytestmark = pytest.mark.timeout(1800)

ROOT = Path(__file__).parents[2]
PROBE = ROOT / ".ci" / "probe-image"
INSPECT = ROOT / ".ci" / "inspect-image"

Object = dict[str, Any]


@dataclass(frozen=True)
class Built:
    """An image in an archive, and its files in a folder."""

    name: images.Name
    archive: Path
    root: Path
    architecture: str
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
    architecture = config["architecture"]
    return Built(request.param, archive, root, architecture, config["config"], manifest["layers"])


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


def test_image_has_labels_and_runs_as_an_unprivileged_user(built: Built) -> None:
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


def test_passes_the_inspection(built: Built) -> None:
    """CI runs the same script on the published images, which have another base."""
    done = run(INSPECT, built)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{built.name} on linux/{built.architecture}: inspected\n"


def test_lists_its_own_licence_and_those_of_its_dependencies(built: Built) -> None:
    text = (built.root / "opt/tokenplace/LICENCES").read_text()
    names = [line.partition("\t")[0] for line in text.partition("\n\n")[0].splitlines()]
    assert len(names) > 10
    assert f"tokenplace-{built.name}" in names
    assert "Permission is hereby granted" in text


def test_starts_passes_the_probe_and_stops(built: Built) -> None:
    done = run(PROBE, built)
    assert done.returncode == 0, done.stderr
    assert f"{built.name} on linux/" in done.stdout


@pytest.mark.parametrize("built", ["relay"], indirect=True)
def test_the_other_image_fails_probe_and_inspection(built: Built) -> None:
    operator = replace(built, name="operator")
    probed, inspected = run(PROBE, operator), run(INSPECT, operator)
    assert (probed.returncode, inspected.returncode) == (1, 1)
    assert "ended with code" in probed.stderr
    assert "/opt/tokenplace/bin has tokenplace-relay" in inspected.stderr


@pytest.mark.parametrize("script", [PROBE, INSPECT], ids=lambda path: path.name)
def test_a_missing_platform_fails(built: Built, script: Path) -> None:
    done = run(script, replace(built, architecture="riscv64"))
    assert done.returncode == 1
    assert "holds no such platform" in done.stderr


def run(script: Path, built: Built) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), str(built.archive), built.name, f"linux/{built.architecture}"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_second_build_gives_the_same_layers(built: Built, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    images.archive(images.build(built.name, "again", fresh=True), again)
    first, second = ([one["digest"] for one in layers] for layers in layer_lists(built, again))
    assert first == second


def layer_lists(built: Built, again: Path) -> tuple[list[Object], list[Object]]:
    manifest, config = documents(again)
    assert config["config"]["Labels"]["org.opencontainers.image.revision"] == "again"
    return built.layers, manifest["layers"]
