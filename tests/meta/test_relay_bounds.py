"""Each bound of the relay is passed by a test, under its name or its variable."""

import re
from dataclasses import Field, fields
from pathlib import Path

import pytest

from tokenplace_relay.settings.bounds import Bounds

TESTS = Path(__file__).parents[1] / "relay"
TEXT = "".join(path.read_text() for path in sorted(TESTS.glob("*.py")))
"""test_settings.py only sets them; it names none of these."""


@pytest.mark.parametrize("bound", fields(Bounds), ids=lambda bound: bound.name)
def test_some_test_sets_it(bound: "Field[object]") -> None:
    names = f"{bound.name}|{bound.metadata['env']}"
    assert re.search(rf"\b({names})\b", TEXT), f"no test goes past {bound.name}"
