"""The page with the request: what it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "prompts" / "codex" / "tokenplace-relay.md"


def named() -> list[str]:
    text = PAGE.read_text()
    return re.findall(
        r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml|yml)|tests/\w+|Dockerfile\.\w+)`", text
    )


def test_every_file_that_the_page_names_is_there() -> None:
    assert len(named()) > 12
    assert [path for path in named() if not (ROOT / path).exists()] == []


def test_every_item_of_the_checklist_names_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 7
    for row in rows:
        assert re.search(r"`tests/", row), row


def test_the_page_keeps_the_words_that_others_look_for() -> None:
    text = PAGE.read_text()
    for word in ("RELAY_PORT", "TOKENPLACE_GPU_HOST", "gpu-server", "letsencrypt-dns01", "sha-"):
        assert word in text
