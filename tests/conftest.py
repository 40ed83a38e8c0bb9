"""For all tests: the order of a run, the fixtures of a cluster, and checks for leaks."""

import gc
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

from tokenplace_cluster.programs.needs import needed_programs

pytest_plugins = [
    "tokenplace_cluster.fixtures",
    "tokenplace_cluster.pytest_programs",
    "tokenplace_cluster.pytest_skips",
]

ON_THE_NODE = ("tests/acceptance/", "tests/e2e/")
"""Folders whose tests share the node, of which a run has only one."""

SLOW_FIRST = (
    *ON_THE_NODE,
    "tests/chart/test_releases.py",
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            *("cli", "reconcile_faults", "image_truth", "chaos", "clock", "leadership", "rights"),
            *("optional_apis", "control_plane", "adopt", "runtime", "write_backoff"),
        )
    ),
)
"""What runs first of the tests that need programs, so that no process ends long before another."""


class FileScheduling(LoadScopeScheduling):
    """Gives each process one file at a time; all tests on the node go to one process."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "the node" if path.startswith(ON_THE_NODE) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Choose the scheduler of a run of several processes."""
    return FileScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a run of several processes, begin with the node, then what needs no program."""
    if hasattr(config, "workerinput"):
        items.sort(key=_order)


def _order(item: pytest.Item) -> int:
    path = item.nodeid.partition("::")[0]
    if path.startswith(ON_THE_NODE):
        return 0
    if not needed_programs([path]):
        return 1
    slow = [place for place in SLOW_FIRST if path.startswith(place)]
    return 2 + (SLOW_FIRST.index(slow[0]) if slow else len(SLOW_FIRST))


def pytest_collection_finish() -> None:
    """Keep modules and collected tests out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def collect_garbage() -> Iterator[None]:
    """Report what a module leaves open as an error of its last test, not of another module."""
    yield
    gc.collect()


MAY_BLOCK = (
    ("tokenplace_relay/api/routes/page.py", "_read"),  # Once, before the relay listens.
    ("tokenplace_relay/telemetry/logs.py", "_write_some"),  # No more than the pipe has room for.
    ("prometheus_client/process_collector.py", "collect"),  # /proc, which is memory.
    ("structlog/dev.py", "__call__"),  # The source lines of a bug.
    # A command for one person, who waits for it anyway.
    ("tokenplace_operator/cli/relay_files.py", "read_text"),
    ("tokenplace_operator/cli/schema.py", "_spec"),
)
"""Files and their functions in which a call may block."""


@pytest.fixture(scope="module", autouse=True)
def forbid_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    """Make a call that blocks the event loop an error, if one of our programs makes it."""
    if not {"unit", "relay"} & set(request.path.parts):
        yield
        return
    with blockbuster_ctx(["tokenplace_operator", "tokenplace_relay"]) as blocking:
        for function in blocking.functions.values():
            for place in MAY_BLOCK:
                function.can_block_in(*place)
        yield
