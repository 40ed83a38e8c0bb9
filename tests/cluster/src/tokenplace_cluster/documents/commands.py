"""The commands of the documents: every code block of every page, cut into commands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[5]
NO_COMMANDS = {"yaml", "mermaid", "json", "output"}
_FENCE = re.compile(r"^ *```(\w*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block; language is empty for an indented one."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One line each: without prompt, comment and line continuation."""
        joined = re.sub(r" *[\\`]\n *", " ", self.text)
        lines = (re.sub(r"(^\$ | +# .*$)", "", line.strip()) for line in joined.splitlines())
        return [line for line in lines if line]


def pages() -> list[Path]:
    """Every page of the repository that people read."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
    return sorted(found)


def blocks() -> list[Block]:
    """Every code block that may hold commands."""
    found = [block for page in pages() for block in _blocks(page)]
    return [block for block in found if block.language not in NO_COMMANDS]


def of(page: str, language: str = "") -> list[Block]:
    """The blocks of one page in one language."""
    return [one for one in blocks() if (one.page, one.language) == (page, language)]


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
