"""docs/conditions.md and api/conditions.py have the same types and reasons."""

import re
from pathlib import Path

from tokenplace_operator.api.conditions import Reason, Type
from tokenplace_operator.reconcile.status_writer import EVENT_REASONS

PAGE = (Path(__file__).parents[3] / "docs" / "conditions.md").read_text()
OPERATOR = Path(__file__).parents[3] / "operator" / "src" / "tokenplace_operator"


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a heading."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    text = next(one for one in section if one.startswith(title))
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(title: str) -> list[str]:
    return [row[0].strip("`") for row in rows(title)]


def test_every_type_has_one_row() -> None:
    assert names("Types") == [str(kind) for kind in Type]


def test_every_reason_has_one_row() -> None:
    told = names("Reasons of Ready") + names("Reasons of the other") + names("Events")
    assert sorted(told) == sorted(str(reason) for reason in Reason)


def test_the_reasons_that_have_an_event_are_named() -> None:
    told = re.search(r"when they\s+appear: ([^.]*)\.", PAGE)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == {str(reason) for reason in EVENT_REASONS}


def test_every_row_has_a_meaning_and_a_next_step() -> None:
    for title in ("Types", "Reasons of Ready", "Reasons of the other", "Events"):
        for row in rows(title):
            assert all(row), row


def test_reasons_are_written_in_one_module_only() -> None:
    literal = re.compile(rf"\"({'|'.join(Reason)})\"")
    elsewhere = [
        (path.name, found)
        for path in OPERATOR.rglob("*.py")
        if path.name != "conditions.py"
        for found in literal.findall(path.read_text())
    ]
    # A Deployment has a condition of this name as well.
    assert set(elsewhere) == {("rollout.py", "Available")}
