"""A pytest plugin that builds the Go programs which the collected tests need.

The builds run in the background, slowest first, while tests that need no program run. A test that
needs a program waits for its build before the test's timeout starts.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress

import pytest

from tokenplace_cluster.programs.build import program
from tokenplace_cluster.programs.needs import needed_programs

_builds: list[subprocess.Popen[bytes]] = []
_built: set[str] = set()


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
            with suppress(RuntimeError):
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
