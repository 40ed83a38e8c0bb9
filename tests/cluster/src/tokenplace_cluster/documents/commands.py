"""Finds the commands in the code blocks of the documentation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[5]
NO_COMMANDS = {"yaml", "mermaid", "json", "output"}
_FENCE = re.compile(r"^ *```(\w*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block; the language of an indented one is empty."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands, one a line, without prompts, comments and line continuations."""
        joined = re.sub(r" *[\\`]\n *", " ", self.text)
        lines = (re.sub(r"(^\$ | +# .*$)", "", line.strip()) for line in joined.splitlines())
        return [line for line in lines if line]


def pages() -> list[Path]:
    """All Markdown pages of the repository, sorted."""
    folders = (ROOT / "docs", ROOT / "deploy")
    return sorted(
        [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    )


def blocks() -> list[Block]:
    """All code blocks that may hold commands."""
    all_blocks = (block for page in pages() for block in _blocks(page))
    return [block for block in all_blocks if block.language not in NO_COMMANDS]


def of(page: str, language: str = "") -> list[Block]:
    """The blocks of one page in one language."""
    return [block for block in blocks() if (block.page, block.language) == (page, language)]


def _blocks(path: Path) -> Iterator[Block]:
    page = str(path.relative_to(ROOT))
    language: str | None = None
    lines: list[str] = []
    before = ""
    for line in [*path.read_text().splitlines(), ""]:
        fence = _FENCE.match(line)
        if language is not None and not fence:
            lines.append(line)
        elif fence or (lines and line and not line.startswith("    ")):
            if lines:
                yield Block(page, language or "", "\n".join(lines) + "\n")
            lines = []
            language = fence[1] if fence and language is None else None
        elif _is_indented(line) and (lines or not before):
            lines.append(line)
        before = line
    if lines:
        yield Block(page, "", "\n".join(lines) + "\n")


def _is_indented(line: str) -> bool:
    return line.startswith("    ")
