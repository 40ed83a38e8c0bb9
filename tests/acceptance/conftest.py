"""The stage of the acceptance list, and the page that its outputs go to."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tokenplace_cluster.documents.acceptance_page import Item, render
from tokenplace_cluster.documents.acceptance_stage import Stage

PAGE = os.environ.get("TOKENPLACE_ACCEPTANCE_PAGE", "")
"""Where the page is written when all of the list has passed; nowhere when empty."""

Show = Callable[[str], None]
Test = tuple[str, str]
"""Node id without parameters, docstring."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything installed, and the relay Ready."""
    with Stage.start(tmp_path_factory.mktemp("acceptance")) as started:
        yield started


@pytest.fixture(scope="module")
def outputs(request: pytest.FixtureRequest) -> Iterator[dict[Test, list[str]]]:
    """What the tests saw; the page is made of it."""
    seen: dict[Test, list[str]] = {}
    yield seen
    if PAGE and not request.session.testsfailed:
        items = [Item(node, words, "\n".join(lines)) for (node, words), lines in seen.items()]
        Path(PAGE).write_text(render(items))


@pytest.fixture
def show(request: pytest.FixtureRequest, outputs: dict[Test, list[str]]) -> Show:
    """Put a line of what was seen on the page, with those of the test's other parameters."""
    node_id = request.node.nodeid.partition("[")[0]
    return outputs.setdefault((node_id, request.function.__doc__), []).append
