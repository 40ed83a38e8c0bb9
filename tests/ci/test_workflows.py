"""What the workflows promise, read from their text: the order, the pins, and the rights."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenplace_cluster.programs.build import MODULES

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILES = [ROOT / f"Dockerfile.{name}" for name in ("relay", "operator")]
LABELS = {"source", "revision", "created", "licenses", "version"}

Object = dict[str, Any]


def workflow(name: str) -> Object:
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}


def triggers(name: str) -> Object:
    found: Object = workflow(name)["on"]
    return found


def jobs(path: Path) -> Iterator[tuple[str, Object]]:
    yield from yaml.safe_load(path.read_text())["jobs"].items()


def steps(name: str, job: str) -> list[Object]:
    found: list[Object] = workflow(name)["jobs"][job]["steps"]
    return found


def position(found: list[Object], text: str) -> int:
    """Where the step is that uses or runs something."""
    (index,) = [
        i for i, one in enumerate(found) if text in one.get("uses", "") + one.get("run", "")
    ]
    return index


def options(action: str) -> Object:
    found = steps("build", "image")
    chosen: Object = found[position(found, action)]["with"]
    return chosen


def test_every_action_is_pinned_by_commit_and_names_its_version() -> None:
    used = [line for path in WORKFLOWS for line in path.read_text().splitlines() if "uses:" in line]
    assert len(used) > 10
    pinned = re.compile(r"\s*(- )?uses: [\w-]+(/[\w-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in used if not pinned.fullmatch(line)] == []


def test_one_action_has_one_pin() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    pins = {(one[0], one[1]) for one in re.findall(r"uses: (\S+)@(\S+)", text)}
    assert len(pins) == len({action for action, _ in pins})


def test_nothing_may_be_written_but_where_it_is_published() -> None:
    writers = set()
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {}, path.name
        for name, job in jobs(path):
            rights = job["permissions"]
            assert rights["contents"] == "read"
            writers |= {(path.stem, name, right) for right, can in rights.items() if can == "write"}
    assert writers == {
        ("build", "publish", "packages"),
        ("build", "publish", "id-token"),
        ("build", "chart", "packages"),
        ("build", "sign", "packages"),
        ("build", "sign", "id-token"),
        ("scorecard", "scorecard", "security-events"),
        ("scorecard", "scorecard", "id-token"),
    }


def test_every_job_has_a_timeout_and_no_checkout_leaves_its_token() -> None:
    for path in WORKFLOWS:
        for name, job in jobs(path):
            assert job["timeout-minutes"] <= 90, (path.name, name)
            checkouts = [one for one in job["steps"] if "actions/checkout" in one.get("uses", "")]
            assert checkouts, (path.name, name)
            assert all(one["with"]["persist-credentials"] is False for one in checkouts)


def test_text_of_outsiders_never_becomes_a_command() -> None:
    for path in WORKFLOWS:
        for name, job in jobs(path):
            for step in job["steps"]:
                assert "${{" not in step.get("run", ""), (path.name, name, step)
        assert "pull_request_target" not in path.read_text()


def test_both_architectures_are_built_and_nothing_is_pushed_by_the_build() -> None:
    chosen = options("build-push-action")
    assert chosen["platforms"] == "linux/amd64,linux/arm64"
    assert chosen["push"] is False
    assert chosen["outputs"].startswith("type=oci,")
    assert options("setup-qemu-action") == {"platforms": "arm64"}


def test_a_bill_of_materials_and_the_provenance_go_with_the_image() -> None:
    assert options("build-push-action")["sbom"] is True
    assert options("build-push-action")["provenance"] == "mode=max"


def test_what_is_built_is_probed_on_both_before_it_is_kept() -> None:
    found = steps("build", "image")
    scripts = [".ci/inspect-image", ".ci/probe-image"]
    order = ["setup-qemu-action", "build-push-action", *scripts, "upload-artifact"]
    assert [position(found, one) for one in order] == sorted(position(found, one) for one in order)
    for one in scripts:
        assert found[position(found, one)]["run"].endswith("linux/amd64 linux/arm64")
    assert all("if" not in one and "continue-on-error" not in one for one in found)


def test_what_was_probed_is_what_is_pushed() -> None:
    publish = workflow("build")["jobs"]["publish"]
    assert publish["needs"] == ["image", "passed"]
    found = publish["steps"]
    assert not any("build-push-action" in one.get("uses", "") for one in found)
    fetched = found[position(found, "download-artifact")]["with"]["name"]
    kept = options("upload-artifact")["name"]
    assert fetched == kept == "image-${{ matrix.image }}"
    order = ["download-artifact", ".ci/publish-image", "cosign sign", ".ci/image-summary"]
    assert [position(found, one) for one in order] == sorted(position(found, one) for one in order)


@pytest.mark.parametrize("job", ["image", "publish"])
def test_relay_and_operator_are_both_images(job: str) -> None:
    assert workflow("build")["jobs"][job]["strategy"]["matrix"] == {"image": ["relay", "operator"]}


def test_pull_requests_build_but_never_publish() -> None:
    found = workflow("build")["jobs"]
    assert "pull_request" in triggers("build")
    assert "if" not in found["image"]
    assert found["publish"]["if"] == "github.event_name == 'push'"
    for job in ("chart", "sign"):
        assert found[job]["if"].startswith("github.event_name == 'push' && ")


def test_a_release_waits_for_the_tests_of_its_commit() -> None:
    found = steps("build", "passed")
    step = found[position(found, ".ci/require-passed")]
    assert step["if"] == "github.ref_type == 'tag'"
    # A job that is skipped would skip what needs it: on main the job runs, and asks nothing.
    assert workflow("build")["jobs"]["passed"]["if"] == "github.event_name == 'push'"
    assert workflow("build")["jobs"]["passed"]["permissions"]["actions"] == "read"
    # The runs are of the commit, whatever object a signed tag is.
    command, commit, *names = shlex.split(step["run"])
    assert (command, commit) == (".ci/require-passed", "$(git rev-parse $GITHUB_SHA^{commit})")
    assert names == ["ci.yml", "e2e.yml"]
    for name in names:
        stem = name.removesuffix(".yml")
        assert triggers(stem)["push"] == {"branches": ["main"]}


def test_every_commit_of_main_has_its_runs() -> None:
    """Of several that wait in one group, GitHub runs the last and cancels the others."""
    for name in ("build", "ci", "e2e"):
        chosen = workflow(name)["concurrency"]
        assert chosen["group"].endswith("-${{ github.event_name == 'push' && github.sha }}")
        assert chosen["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_a_chart_whose_signing_failed_can_be_signed_again() -> None:
    """The job that pushes it cannot be run again, so nothing of it may come after the push."""
    chart, sign = (workflow("build")["jobs"][name] for name in ("chart", "sign"))
    assert position(chart["steps"], ".ci/publish-chart") == len(chart["steps"]) - 1
    assert sign["needs"] == "chart"
    assert chart["outputs"]["reference"] == "${{ steps.push.outputs.reference }}"
    assert "id-token" not in chart["permissions"]


@pytest.mark.parametrize(("job", "source"), [("publish", "steps.push"), ("sign", "needs.chart")])
def test_the_digest_is_what_gets_signed(job: str, source: str) -> None:
    found = steps("build", job)
    sign = found[position(found, "cosign sign")]
    assert sign["env"] == {"REFERENCE": f"${{{{ {source}.outputs.reference }}}}"}
    assert "--yes" in sign["run"]
    assert "--key" not in sign["run"]


def test_the_chart_is_published_only_by_a_release() -> None:
    chart = workflow("build")["jobs"]["chart"]
    assert "startsWith(github.ref, 'refs/tags/v')" in chart["if"]
    assert chart["needs"] == "publish"
    assert triggers("build")["push"] == {"branches": ["main"], "tags": ["v*.*.*"]}


def test_labels_are_given_by_the_build_and_taken_by_the_dockerfiles() -> None:
    arguments = options("build-push-action")["build-args"].splitlines()
    given = dict(line.split("=", 1) for line in arguments)
    assert given["REVISION"] == "${{ steps.facts.outputs.revision }}"
    assert set(given) == {"SOURCE", "REVISION", "CREATED", "VERSION"}
    on_index = options("build-push-action")["annotations"]
    assert set(re.findall(r"index:org\.opencontainers\.image\.(\w+)=", on_index)) == LABELS
    for path in DOCKERFILES:
        labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', path.read_text()))
        assert labels.keys() >= LABELS
        assert {name: labels[name] for name in ("source", "revision", "created", "version")} == {
            name: f"${{{name.upper()}}}" for name in ("source", "revision", "created", "version")
        }
        assert labels["licenses"] == "MIT"


def bases() -> list[list[str]]:
    return [re.findall(r"^FROM (.*)$", path.read_text(), re.MULTILINE) for path in DOCKERFILES]


def test_both_images_use_one_base_that_is_named_by_digest() -> None:
    """Written out in the first FROM: Dependabot knows no variables there."""
    relay, operator = bases()
    assert relay == operator
    first, *others = relay
    assert re.fullmatch(r"\S+:3\.\d+-slim-bookworm@sha256:[0-9a-f]{64} AS base", first)
    assert others == ["base AS build", "base"]


def test_a_base_that_lacks_an_architecture_fails_before_the_build() -> None:
    found = steps("build", "image")
    check = found[position(found, ".ci/has-platforms")]["run"]
    assert check.rstrip().endswith("| .ci/has-platforms linux/amd64 linux/arm64")
    assert position(found, ".ci/has-platforms") < position(found, "build-push-action")
    (finding,) = re.findall(r"^base=\$\((.*)\)$", check, re.MULTILINE)
    for path, (first, *_) in zip(DOCKERFILES, bases(), strict=True):
        named = subprocess.run(
            ["bash", "-c", finding], env={"DOCKERFILE": str(path)}, capture_output=True, check=True
        )
        assert named.stdout.decode() == first.removesuffix(" AS base") + "\n"
    # What GitHub runs without `shell` has no pipefail: an empty answer must fail by itself.
    assert has_platforms("") != 0


def has_platforms(manifest: str) -> int:
    command = [str(ROOT / ".ci" / "has-platforms"), "linux/amd64", "linux/arm64"]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, check=False)
    return done.returncode


def index(*names: str) -> str:
    pairs = (name.split("/") for name in names)
    manifests = [{"platform": {"os": one, "architecture": two}} for one, two in pairs]
    return json.dumps({"schemaVersion": 2, "manifests": manifests})


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        (index("linux/amd64", "linux/arm64", "unknown/unknown"), 0),
        (index("linux/amd64", "linux/arm"), 1),
        (json.dumps({"schemaVersion": 2, "config": {}, "layers": []}), 1),
    ],
    ids=["both", "one", "no index"],
)
def test_platforms_are_read_from_the_index(manifest: str, code: int) -> None:
    assert has_platforms(manifest) == code


def test_nothing_is_called_latest() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    assert re.findall(r"[:=/]latest\b", text) == []


def test_ci_is_what_anyone_can_run() -> None:
    (run,) = [one["run"] for one in steps("ci", "test") if ".ci/run" in one.get("run", "")]
    assert run.endswith("bash .ci/run")


def test_ci_keeps_the_programs_and_not_the_images() -> None:
    found = steps("ci", "test")
    fetch, keep = (found[position(found, f"actions/cache/{one}@")] for one in ("restore", "save"))
    folder = "${{ github.workspace }}/.cache/tokenplace"
    assert fetch["with"]["path"].splitlines() == [folder + "/*", "!" + folder + "/images"]
    assert keep["with"]["path"] == fetch["with"]["path"]
    (run,) = [one["run"] for one in found if ".ci/run" in one.get("run", "")]
    assert 'TOKENPLACE_CACHE_DIR="$GITHUB_WORKSPACE/.cache/tokenplace"' in run


def test_ci_keeps_the_programs_of_a_red_run_when_all_are_built() -> None:
    found = steps("ci", "test")
    keep = found[position(found, "actions/cache/save@")]
    always, missed, built = keep["if"].split(" && ")
    assert (always, missed) == ("always()", "steps.programs.outputs.cache-hit != 'true'")
    *_, last = MODULES
    assert built == f"hashFiles('.cache/tokenplace/{last}-*/{last}') != ''"
    assert keep is found[-1]


def test_e2e_runs_on_the_oldest_and_the_newest_kubernetes() -> None:
    matrix = workflow("e2e")["jobs"]["kind"]["strategy"]["matrix"]["include"]
    assert [one["kubernetes"] for one in matrix] == supported()
    for one in matrix:
        assert re.fullmatch(
            rf"kindest/node:v{re.escape(one['kubernetes'])}\.\d+@sha256:[0-9a-f]{{64}}", one["node"]
        )
        assert re.fullmatch(r"v0\.\d+\.\d+", one["kind"])
    found = steps("e2e", "kind")
    chosen = found[position(found, "helm/kind-action")]["with"]
    assert (chosen["version"], chosen["node_image"]) == ("${{ matrix.kind }}", "${{ matrix.node }}")


def supported() -> list[str]:
    """The bounds that the support policy gives to people."""
    text = (ROOT / "docs" / "support.md").read_text()
    found = re.search(r"Kubernetes (1\.\d+) to (1\.\d+)", text)
    assert found
    return list(found.groups())


def test_dependabot_keeps_every_kind_of_dependency_fresh() -> None:
    text = (ROOT / ".github" / "dependabot.yml").read_text()
    watched = {
        (one["package-ecosystem"], folder)
        for one in yaml.safe_load(text)["updates"]
        for folder in one.get("directories", [one.get("directory")])
    }
    assert watched >= {("github-actions", "/"), ("docker", "/"), ("uv", "/")}
    assert ("gomod", "/tests/cluster/go/*") in watched
    assert ("pip", "/.ci") in watched
    tracked = subprocess.run(
        ["git", "ls-files", "*package.json", "*go.mod"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for file in map(Path, tracked):
        if file.name == "go.mod":
            assert str(file.parent.parent) == "tests/cluster/go"
        else:
            assert ("npm", f"/{file.parent}") in watched


def test_a_problem_in_a_workflow_fails_lint() -> None:
    recipe = (ROOT / "Makefile").read_text()
    lint = "".join(
        recipe.partition(f"\n{target}:")[2].partition("\n\n")[0]
        for target in ("lint", "lint-python")
    )
    for tool in ("hadolint", "zizmor --offline", "actionlint", "ruff check", "mypy"):
        assert tool in lint
    assert json.dumps(recipe).count("|| true") == 0
