"""A pytest plugin that builds the Go programs which the collected tests need.

The builds run in the background, slowest first, while tests that need no program run. A test that
needs a program waits for its build before the test's timeout starts.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from typing import Final

import pytest

from tokenplace_cluster.programs.build import BuildError, program

_CLUSTER: Final = ("kubernetes", "coredns", "registry", "pause", "witness")
_MONITORING: Final = ("prometheus", "prometheus-operator", "prometheus-config-reloader")

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tests/acceptance": (*_CLUSTER, "helm", "traefik", *_MONITORING),
    "tests/chart": ("helm",),
    "tests/chart/test_network.py": ("policy",),
    "tests/chart/test_releases.py": ("kubernetes",),
    "tests/chart/test_render.py": ("kubescore",),
    "tests/ci/test_publish.py": ("registry", "helm"),
    "tests/e2e": _CLUSTER,
    "tests/e2e/test_chart_pods.py": ("helm",),
    "tests/e2e/test_documents.py": ("helm",),
    "tests/integration": ("kubernetes",),
    "tests/integration/test_build.py": ("pause",),
    "tests/rules/test_kstatus.py": ("kstatus",),
    "tests/rules/test_operator_alerts.py": ("rules",),
    "tests/rules/test_policy_verdicts.py": ("policy",),
    "tests/rules/test_relay_alerts.py": ("rules",),
}
"""Folder or file -> the programs that its tests run. A missing entry costs only time: a program
that is not built yet is built when a test first asks for it."""

BUILD_ORDER: Final = (
    "kubernetes",
    "coredns",
    "traefik",
    "registry",
    "policy",
    "prometheus",
    "prometheus-operator",
)
"""The slowest builds, slowest first; the others follow in the order of their names."""

_builds: list[subprocess.Popen[bytes]] = []
_built: set[str] = set()


def needed_programs(paths: Iterable[str]) -> list[str]:
    """The programs that the tests of these files need, in the order to build them.

    paths are relative to the root; node ids work too.
    """
    files = {path.partition("::")[0] for path in paths}
    names = {
        name
        for place, needed in NEEDS.items()
        if any(file == place or file.startswith(f"{place}/") for file in files)
        for name in needed
    }
    slow = [name for name in BUILD_ORDER if name in names]
    return [*slow, *sorted(names - set(slow))]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the builds, in a run of one process."""
    if not session.config.option.collectonly and not os.environ.get("PYTEST_XDIST_WORKER"):
        _start_builds(session.config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: object, ids: list[str]) -> None:
    """Start the builds once, in the process that directs the others."""
    if not _builds:
        _start_builds(node.config, ids)  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Wait for the programs of a test outside its timeout."""
    for name in needed_programs([item.nodeid]):
        if name not in _built:
            # The test itself reports the error when it asks for the program.
            with suppress(BuildError):
                program(name)
            _built.add(name)
    return (yield)


def pytest_unconfigure() -> None:
    """End builds that are still running."""
    for build in _builds:
        if build.poll() is None:
            os.killpg(build.pid, signal.SIGTERM)
        build.wait()
    _builds.clear()


def _start_builds(config: pytest.Config, ids: list[str]) -> None:
    names = needed_programs(ids)
    if not names:
        return
    command = [sys.executable, "-m", "tokenplace_cluster.main", "build", *names]
    capture = config.pluginmanager.getplugin("capturemanager")
    # Without this, pytest would keep the progress of the builds to itself.
    with capture.global_and_fixture_disabled():
        _builds.append(
            subprocess.Popen(["nice", *command], stdout=subprocess.DEVNULL, start_new_session=True)
        )
