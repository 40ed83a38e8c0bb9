"""A release needs green runs of its commit; GitHub's answers are simulated."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "require-passed"
COMMIT = "c" * 40
GH = """\
#!{python}
import json, sys
words = sys.argv[1:]
assert words[:2] == ["run", "list"], words
options = dict(zip(words[2::2], words[3::2], strict=True))
assert (options.pop("--branch"), options.pop("--event")) == ("main", "push"), options
assert (options.pop("--commit"), options.pop("--limit")) == ("{commit}", "1"), options
runs = {answers}[options.pop("--workflow")]
if runs is None:
    sys.exit("HTTP 403: Resource not accessible by integration")
fields = options.pop("--json").split(",")
assert not options, options
print(json.dumps([{{field: run[field] for field in fields}} for run in runs]))
"""

Run = dict[str, str]
Answers = Mapping[str, list[Run] | None]


@pytest.fixture
def require(tmp_path: Path) -> Callable[[Answers], subprocess.CompletedProcess[str]]:
    """Run the script with a gh that gives these runs of each workflow, or fails for None."""

    def run(answers: Answers) -> subprocess.CompletedProcess[str]:
        gh = tmp_path / "gh"
        gh.write_text(GH.format(python=sys.executable, commit=COMMIT, answers=repr(answers)))
        gh.chmod(0o755)
        return subprocess.run(
            [SCRIPT, COMMIT, *answers],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


Require = Callable[[Answers], subprocess.CompletedProcess[str]]


def ended(conclusion: str, status: str = "completed") -> list[Run]:
    url = f"https://github.com/o/r/actions/runs/{len(conclusion)}"
    return [{"status": status, "conclusion": conclusion, "url": url}]


def test_green_runs_let_a_release_pass(require: Require) -> None:
    done = require({"ci.yml": ended("success"), "e2e.yml": ended("success")})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("passed (https://") == 2


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (ended("", "in_progress"), "it has not ended"),
        (ended("", "queued"), "wait for it"),
        (ended("failure"), "it ended with failure (https://github.com/o/r/actions/runs/7)"),
        (ended("cancelled"), "it ended with cancelled"),
        ([], "no run of main for this commit: merge it"),
    ],
)
def test_anything_else_holds_it_back(require: Require, runs: list[Run], told: str) -> None:
    done = require({"ci.yml": ended("success"), "e2e.yml": runs})
    assert done.returncode == 1
    assert done.stdout.startswith("ci.yml: passed")
    assert told in done.stderr
    assert f"nothing of {COMMIT} is published: then re-run the failed jobs" in done.stderr


def test_each_workflow_that_did_not_pass_is_named(require: Require) -> None:
    done = require({"ci.yml": [], "e2e.yml": ended("failure")})
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stderr.splitlines()[:2]] == ["ci.yml:", "e2e.yml:"]


def test_no_answer_is_no_pass(require: Require) -> None:
    done = require({"ci.yml": None})
    assert done.returncode != 0
    assert "HTTP 403" in done.stderr
