"""The page of the acceptance list and the list itself are the same.

`make acceptance` writes the page for each release and when the list changes: it shows the output of
the tests at that time. CI runs the tests with every change and writes no page.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "acceptance" / "test_acceptance.py"
PAGE = ROOT / "docs" / "acceptance.md"


def titles() -> dict[str, str]:
    """The title of each test's docstring, by its node id, in the order of the file."""
    where = LIST.relative_to(ROOT)
    return {
        f"{where}::{one.name}": (ast.get_docstring(one) or "").partition("\n")[0].removesuffix(".")
        for one in ast.parse(LIST.read_text()).body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    }


def sections() -> list[tuple[str, str, str]]:
    """Of each section of the page: its title, the test it names, and the output it shows."""
    section = re.compile(
        r"^## (.+?)\n.*?^Shown by `(.+?)`:\n\n```output\n(.*?)^```$", re.DOTALL | re.MULTILINE
    )
    return section.findall(PAGE.read_text())


def test_every_test_of_the_list_has_its_section() -> None:
    assert [(title, node) for title, node, _ in sections()] == [
        (title, node) for node, title in titles().items()
    ]
    assert PAGE.read_text().count("\n## ") == len(sections())


def test_every_section_shows_an_output() -> None:
    assert [title for title, _, output in sections() if not output.strip()] == []


def test_the_list_has_all_seven_items() -> None:
    assert {title[0] for title in titles().values()} == set("1234567")
