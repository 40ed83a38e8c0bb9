"""Facts about a build, and the summary from which maintainers copy."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIGEST = "sha256:" + "a" * 64

Facts = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def version() -> str:
    """That of the tree; tests that want another set it."""
    return "1.2.3"


@pytest.fixture
def facts(tmp_path: Path, version: str) -> Facts:
    """Run image-facts for a ref in a repository with one commit of a known time and version."""
    chart = tmp_path / "deploy" / "charts" / "tokenplace-relay" / "Chart.yaml"
    chart.parent.mkdir(parents=True)
    chart.write_text(f"apiVersion: v2\nversion: {version}\nappVersion: {version}\n")
    when = {f"GIT_{who}_DATE": "2026-11-24T12:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    environment = {**os.environ, **when, "SOURCE_FOLDER": str(tmp_path)}
    environment.pop("GITHUB_SHA", None)
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, env=environment, check=True)

    def run(ref: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / ".ci" / "image-facts"],
            env={**environment, "GITHUB_REF": ref},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def said(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_a_commit_has_one_tag_that_names_it(facts: Facts) -> None:
    found = said(facts("refs/heads/main"))
    assert len(found["revision"]) == 40
    assert found["tags"] == f"sha-{found['revision'][:7]}"
    assert found["version"] == f"0.0.0-sha.{found['revision'][:7]}"
    assert found["created"] == "2026-11-24T12:00:00Z"
    assert found["epoch"] == "1795521600"


@pytest.mark.parametrize("version", ["1.2.3", "0.1.0", "10.0.0-rc.1"])
def test_a_release_has_its_version_only(facts: Facts, version: str) -> None:
    """A tag that names the commit belongs to the build of main, which has other contents."""
    found = said(facts(f"refs/tags/v{version}"))
    assert found["version"] == found["tags"] == version


@pytest.mark.parametrize("tag", ["latest", "1.2.3", "v1.2", "v1.2.3+build", "v01.2.3", "v1.2.3-"])
def test_other_tags_build_nothing(facts: Facts, tag: str) -> None:
    done = facts(f"refs/tags/{tag}")
    assert (done.returncode, done.stdout) == (1, "")
    assert tag in done.stderr
    assert "semantic version" in done.stderr


@pytest.mark.parametrize("tag", ["v1.2.4", "v1.2.3-rc.1", "v11.2.3"])
def test_a_tag_that_is_not_the_version_of_its_commit_is_refused(facts: Facts, tag: str) -> None:
    done = facts(f"refs/tags/{tag}")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tag} is not the version of its commit, which is 1.2.3" in done.stderr


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("relay", f"  digest: {DIGEST}"),
        ("operator", f"    digest: {DIGEST}"),
        ("chart", "helm install tokenplace oci://ghcr.io/o/thing --version 1.2.3"),
    ],
)
def test_the_summary_can_be_pasted(what: str, line: str) -> None:
    reference = f"ghcr.io/o/thing@{DIGEST}"
    done = subprocess.run(
        [ROOT / ".ci" / "image-summary", what, reference, "1.2.3"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert reference in done.stdout.splitlines()
    assert line in done.stdout.splitlines()
