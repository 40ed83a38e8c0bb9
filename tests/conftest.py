"""The fixtures of a real cluster, for all tests; and leaks are told where they are made."""

import gc
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

pytest_plugins = [
    "tokenplace_cluster.fixtures",
    "tokenplace_cluster.pytest_programs",
    "tokenplace_cluster.pytest_skips",
]

SHARED = {"acceptance": "a node", "chart": "a chart", "e2e": "a node"}
"""Folders whose tests share something that is only once in a run."""


class Together(LoadScopeScheduling):
    """In a run of several processes, keeps together what shares something, and each file."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return SHARED.get(path.split("/")[1], path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Who decides which process runs what."""
    return Together(config, log)


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
"""Files, and functions of theirs in which a call may block."""


@pytest.fixture(scope="module", autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """In the loop of a test, a call of our programs that blocks it is an error."""
    if not {"unit", "relay"} & set(request.path.parts):
        yield
        return
    with blockbuster_ctx(["tokenplace_operator", "tokenplace_relay"]) as blocking:
        for function in blocking.functions.values():
            for place in MAY_BLOCK:
                function.can_block_in(*place)
        yield
