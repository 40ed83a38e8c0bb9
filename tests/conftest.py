"""The fixtures of a real cluster, for all tests; and leaks are told where they are made."""

import gc
from collections.abc import Iterator

import pytest

pytest_plugins = ["tokenplace_cluster.fixtures"]


@pytest.fixture(scope="module", autouse=True)
def no_garbage_for_others() -> Iterator[None]:
    """What a module leaves open is an error of its last test, not of whoever happens to follow."""
    yield
    gc.collect()
