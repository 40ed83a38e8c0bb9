"""The targets of the Makefile: each folder of tests belongs to exactly one of them."""

import re
from pathlib import Path

from tokenplace_cluster.programs.needs import NEEDS

ROOT = Path(__file__).parents[2]


def folders(variable: str) -> set[str]:
    text = (ROOT / "Makefile").read_text()
    (value,) = re.findall(rf"^{variable} := (.*)$", text, re.MULTILINE)
    return set(value.replace("$(UNIT)", "tests/unit").split())


def test_every_folder_of_tests_is_in_test_or_in_test_all() -> None:
    every = {f"tests/{path.relative_to(ROOT / 'tests').parts[0]}" for path in files_with_tests()}
    assert folders("TEST") | folders("TEST_ALL") == every
    assert folders("TEST") & folders("TEST_ALL") == set()


def test_what_needs_programs_is_there() -> None:
    for place in NEEDS:
        assert (ROOT / place).exists(), place


def test_the_slow_files_are_there() -> None:
    text = (ROOT / "tests" / "conftest.py").read_text()
    (names,) = re.findall(r"for name in \((.*?)\n        \)", text, re.DOTALL)
    for name in re.findall(r'"(\w+)"', names):
        assert (ROOT / "tests" / "integration" / f"test_{name}.py").exists(), name


def test_unit_tests_need_no_program() -> None:
    assert not [place for place in NEEDS if place.startswith(("tests/unit", "tests/meta"))]
    assert not [place for place in NEEDS if place.startswith("tests/relay")]


def test_the_slow_tests_of_the_relay_are_there() -> None:
    (names,) = re.findall(r"^SLOW_RELAY := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for name in names.split():
        assert (ROOT / "tests" / "relay" / f"test_{name}.py").exists(), name


def files_with_tests() -> list[Path]:
    return sorted((ROOT / "tests").glob("*/**/test_*.py"))
