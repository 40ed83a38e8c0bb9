"""The fixtures of a real cluster, for all tests; and leaks are told where they are made."""

import gc
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

pytest_plugins = ["tokenplace_cluster.fixtures"]


@pytest.fixture(scope="module", autouse=True)
def no_garbage_for_others() -> Iterator[None]:
    """What a module leaves open is an error of its last test, not of whoever happens to follow."""
    yield
    gc.collect()


MAY_BLOCK = (
    ("tokenplace_relay/page_routes.py", "_read"),  # Once, before the relay listens.
    ("tokenplace_relay/logs.py", "_write_some"),  # No more than the pipe has room for.
    ("prometheus_client/process_collector.py", "collect"),  # /proc, which is memory.
    ("structlog/dev.py", "__call__"),  # The source lines of a bug.
    # A command for one person, who waits for it anyway.
    ("tokenplace_operator/cli/documents.py", "read_text"),
    ("tokenplace_operator/cli/schema.py", "_spec"),
)
"""Files, and functions of theirs in which a call may block."""


@pytest.fixture(scope="module", autouse=True)
def nothing_blocks_the_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """In the loop of a test, a call of our programs that blocks it is an error."""
    if request.path.parent.name not in {"unit", "relay"}:
        yield
        return
    with blockbuster_ctx(["tokenplace_operator", "tokenplace_relay"]) as blocking:
        for function in blocking.functions.values():
            for place in MAY_BLOCK:
                function.can_block_in(*place)
        yield
