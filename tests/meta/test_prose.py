"""Texts use the words of docs/glossary.md; the scanner finds words that are out, and only those."""

import pytest

from tokenplace_harness.prose.rules import RULES
from tokenplace_harness.prose.scan import chunks, findings, names, tracked_files


def words(path: str, text: str) -> list[tuple[int, str]]:
    """Line and word of each finding in a text, as if it were the file with this path."""
    return [
        (chunk.line + chunk.text.count("\n", 0, match.start()), match[0])
        for chunk in chunks(path, text)
        for rule in RULES
        if rule.applies_to(path)
        for match in rule.regex.finditer(chunk.text)
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", '"""Waits for somebody."""\n'),
        ("a.py", "x = 1\n# somebody\n"),
        ("a.py", "def test_somebody_comes() -> None: ...\n"),
        ("relay/src/a.py", 'log.info("somebody left")\n'),
        ("relay/src/a.py", 'log.info(f"{name}: somebody left")\n'),
        ("docs/a.md", "Waits for\nsomebody.\n"),
        ("crds/a.yaml", "description: for somebody\n"),
        ("tests/a.go", "x := 1 // somebody\n"),
        ("docs/a.md", "    code\n\nsomebody\n"),
        ("a.tsx", "<p>\n  for somebody\n</p>\n"),
        (".ci/a", "#!/usr/bin/env python3\n# somebody\n"),
    ],
)
def test_a_word_that_is_out_is_found(path: str, text: str) -> None:
    assert [word for _, word in words(path, text)] == ["somebody"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", 'somebody = "somebody"\n'),
        ("tests/a.py", 'send("for somebody")\n'),
        ("docs/a.md", "Run `somebody`, see [page](somebody.md).\n"),
        ("docs/a.md", "```sh\nsomebody\n```\n\n    somebody\n"),
        ("a.ts", "const somebody = told;\n"),
        ("tests/a.go", "somebody := 1\n"),
    ],
)
def test_code_is_not_prose(path: str, text: str) -> None:
    assert words(path, text) == []


def test_a_phrase_is_found_across_lines() -> None:
    assert words("a.py", "\n# It is kept for\n# ever.\n") == [(2, "for\n# ever")]


def test_a_question_may_begin_with_what() -> None:
    assert words("docs/a.md", "What is a relay? It passes ciphertext.\n") == []
    assert words("docs/a.md", "What it keeps is short.\n") == [(1, "What")]


def test_names_are_nouns() -> None:
    text = "def look(found: int) -> None:\n    told = 1\n    _known = told\n"
    listed = [(finding.line, finding.word) for finding in names("relay/src/a.py", text)]
    assert sorted(listed) == [
        (1, "name found"),
        (1, "name look"),
        (2, "name told"),
        (3, "name _known"),
    ]


def test_pages_and_sources_are_read() -> None:
    assert {"README.md", "crds/tokenplacerelays.yaml", "Makefile"} <= set(tracked_files())


@pytest.mark.timeout(300)
def test_the_words_that_are_out_are_not_used() -> None:
    listed = [str(finding) for path in tracked_files() for finding in findings(path)]
    assert listed == [], "\n".join(listed)
