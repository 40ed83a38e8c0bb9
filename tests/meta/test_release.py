"""One version everywhere, and a changelog that its fragments make."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

from tokenplace_cluster.documents.commands import blocks

ROOT = Path(__file__).parents[2]
KINDS = {"security", "added", "changed", "fixed", "removed"}


CHART = "oci://ghcr.io/futuroptimist/charts/tokenplace-relay"


def commands_with_the_chart() -> list[tuple[str, str]]:
    """Every command of the documents that takes the chart from its registry, with its page."""
    found = [(block.page, command) for block in blocks() for command in block.commands]
    return [(page, command) for page, command in found if CHART in command]


def versions() -> dict[str, str]:
    found = {}
    for number, (page, command) in enumerate(commands_with_the_chart()):
        named = re.search(rf"{CHART} --version (\S+)", command)
        found[f"{page}, {number}: {command}"] = named[1] if named else "none"
    for name in ("pyproject.toml", "operator/pyproject.toml", "relay/pyproject.toml"):
        found[name] = tomllib.loads((ROOT / name).read_text())["project"]["version"]
    for name in ("Dockerfile.relay", "Dockerfile.operator"):
        (found[name],) = re.findall(r"^ARG VERSION=(\S+)$", (ROOT / name).read_text(), re.MULTILINE)
    manifest = (ROOT / "deploy/operator/60-deployment.yaml").read_text()
    (found["manifest"],) = re.findall(r"image: \S+/tokenplace-operator:(\S+)", manifest)
    chart = yaml.safe_load((ROOT / "deploy/charts/tokenplace-relay/Chart.yaml").read_text())
    found["chart"], found["chart's app"] = chart["version"], chart["appVersion"]
    for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"]):
        found[image["name"]] = image["image"].rpartition(":")[2]
    return found


def test_everything_has_the_same_version() -> None:
    assert len(commands_with_the_chart()) > 9
    assert len(set(versions().values())) == 1, versions()


def test_no_command_sets_a_value_by_a_flag() -> None:
    """The next upgrade would forget it: they have their values from a file."""
    commands = [command for _, command in commands_with_the_chart()]
    assert [one for one in commands if "--set" in one] == []
    assert [one for one in commands if "upgrade" in one and "--values values.yaml" not in one] == []


def test_fragments_are_named_as_the_changelog_needs_them() -> None:
    names = [path.name for path in (ROOT / "changelog.d").iterdir() if path.suffix == ".md"]
    assert names
    for name in names:
        assert re.fullmatch(r"(\d+|\+[a-z0-9-]+)\.(\w+)(\.\d+)?\.md", name), name
        assert name.removeprefix("+").split(".")[1] in KINDS, name


def test_fragments_become_the_changelog(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "changelog.d", tmp_path / "changelog.d")
    command = [sys.executable, "-m", "towncrier", "build", "--version=9.9.9", "--keep"]
    subprocess.run([*command, "--date=2026-11-24"], cwd=tmp_path, check=True, capture_output=True)
    written = (tmp_path / "CHANGELOG.md").read_text()
    head, _, news = written.partition("## 9.9.9 (2026-11-24)")
    assert "newest first" in head
    for fragment in (ROOT / "changelog.d").glob("*.md"):
        assert fragment.read_text().strip().splitlines()[0].partition(".")[0] in news
