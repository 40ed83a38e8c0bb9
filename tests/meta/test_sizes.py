"""Files, packages and functions stay small enough to read at a glance; numbers are ratchets."""

import ast
import io
import subprocess
import tokenize
from collections import Counter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(
    ["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
FILES = [path for path in TRACKED if (ROOT / path).is_file()]
PROGRAMS = ("operator/src/", "relay/src/")
SOURCES = [path for path in FILES if path.startswith(PROGRAMS)]
TESTS = [path for path in FILES if path.startswith("tests/")]
MAX_LINES = 400
MAX_MEDIAN_LINES = 120
MAX_MODULES = 15
MAX_FUNCTION_LINES = 40
MIN_TEST_RATIO = 1.5
MIN_COMMENT_PERCENT = 3.0
LONG_FUNCTIONS = 2
LONG_TEST_FUNCTIONS = 9
"""Numbers above the limits that are left from before; they only go down."""
NO_COMMENTS = ("# noqa", "# type:", "# fmt:", "# pragma")


def text_of(path: str) -> str:
    return (ROOT / path).read_text()


def lines_of(path: str) -> int:
    return len(text_of(path).splitlines())


def lines_in_all(paths: list[str]) -> int:
    return sum(map(lines_of, paths))


def long_functions(paths: list[str]) -> list[str]:
    return [
        f"{path}: {node.name}"
        for path in paths
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]


def comment_lines(path: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text_of(path)).readline)
    return sum(
        token.type == tokenize.COMMENT and not token.string.startswith(NO_COMMENTS)
        for token in tokens
    )


def test_files_of_the_programs_are_short() -> None:
    assert [path for path in SOURCES if lines_of(path) > MAX_LINES] == []


def test_files_of_the_tests_are_short() -> None:
    assert [path for path in TESTS if lines_of(path) > MAX_LINES] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_most_files_are_far_shorter(program: str) -> None:
    modules = [path for path in SOURCES if path.startswith(program) and "__init__" not in path]
    assert median(map(lines_of, modules)) <= MAX_MEDIAN_LINES


def test_no_package_has_too_many_modules() -> None:
    packages = Counter(Path(path).parent for path in SOURCES if "__init__" not in path)
    assert [str(one) for one, number in packages.items() if number > MAX_MODULES] == []


def test_functions_are_short() -> None:
    long = long_functions(SOURCES)
    assert len(long) <= LONG_FUNCTIONS, long


def test_test_functions_are_short() -> None:
    long = long_functions(TESTS)
    assert len(long) <= LONG_TEST_FUNCTIONS, long


def test_there_is_more_test_than_source() -> None:
    ratio = lines_in_all(TESTS) / lines_in_all(SOURCES)
    print(f"test : source = {ratio:.2f}")
    assert ratio >= MIN_TEST_RATIO


def test_comments_explain_why_where_code_surprises() -> None:
    percent = 100 * sum(map(comment_lines, SOURCES)) / lines_in_all(SOURCES)
    print(f"comments = {percent:.2f} % of the lines of both programs")
    assert percent >= MIN_COMMENT_PERCENT
