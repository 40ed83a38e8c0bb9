"""The page that names a test for each promise of the operator names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "design" / "2026-11-25-behaviour-and-what-shows-it.md"


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(tests/[\w/.]+)::(\w+)`", row) for row in rows]
    assert all(named), "a promise without a test"
    missing = [
        (file, name)
        for tests in named
        for file, name in tests
        if f"def {name}(" not in (ROOT / file).read_text()
    ]
    assert missing == []
