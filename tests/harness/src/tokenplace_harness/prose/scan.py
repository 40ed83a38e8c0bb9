"""Find words and phrases that this project does not use.

Inline code, code blocks and link targets of Markdown are not prose and are skipped.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenplace_harness.prose.rules import NAMES, RULES, Rule

ROOT: Final = Path(__file__).parents[5]
PROGRAMS: Final = ("operator/src/", "relay/src/")
SKIPPED: Final = (
    "docs/prompts/",
    "docs/pictures/",
    "relay/src/tokenplace_relay/page/",
    "relay/page/package-lock.json",
    "tests/harness/src/tokenplace_harness/prose/rules.py",
    "LICENSE",
)
WHOLE_TEXT: Final = frozenset({".yaml", ".yml", ".tpl", ".txt", ".html", ".toml", ""})
SCRIPTS: Final = frozenset({".ts", ".tsx", ".mjs", ".css", ".go"})
SCRIPT_PROSE: Final = re.compile(
    r"""/\*.*?\*/ | (?<![:"'])//[^\n]*  # comments
    | "[^"\n]*[ ][^"\n]*" | '[^'\n]*[ ][^'\n]*' | `[^`]*[ ][^`]*`  # texts with a space
    | (?<=[>}])[^<>{}=;]+(?=[<{])  # text of JSX
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of prose: its first line number in the file, and its raw text."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A word that is out, where it is, and what to write instead."""

    path: str
    line: int
    word: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} -> {self.replacement}"


def tracked_files() -> list[str]:
    """Paths of all files that git tracks and this check reads, relative to the root."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    suffixes = WHOLE_TEXT | SCRIPTS | {".py", ".md"}
    return [
        path
        for path in listing
        if Path(path).suffix in suffixes
        and not path.startswith(SKIPPED)
        and (ROOT / path).is_file()
    ]


def chunks(path: str, text: str) -> Iterator[Chunk]:
    """The prose of a file."""
    match Path(path).suffix:
        case ".py":
            yield from python_comments(text)
            yield from python_strings(path, text)
        case ".md":
            yield Chunk(1, without_code(text))
        case suffix if suffix in SCRIPTS:
            for match in SCRIPT_PROSE.finditer(text):
                yield Chunk(1 + text.count("\n", 0, match.start()), match[0])
        case "" if text.startswith("#!/usr/bin/env python3"):
            yield from python_comments(text)
            yield from python_strings("operator/src/", text)
        case _:
            yield Chunk(1, text)


def python_comments(text: str) -> Iterator[Chunk]:
    """Comments; those of consecutive lines are one chunk, because phrases run over lines."""
    last: Chunk | None = None
    end = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT or token.string.startswith("# noqa"):
            continue
        line = token.start[0]
        if last is not None and line == end + 1:
            last = Chunk(last.line, f"{last.text}\n{token.string}")
        else:
            if last is not None:
                yield last
            last = Chunk(line, token.string)
        end = line
    if last is not None:
        yield last


def python_strings(path: str, text: str) -> Iterator[Chunk]:
    """Docstrings, names of tests, and for the two programs all texts with more than one word."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and _text(node.value):
            yield Chunk(node.lineno, _text(node.value))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("test_"):
                yield Chunk(node.lineno, node.name.replace("_", " "))
        elif path.startswith(PROGRAMS) and isinstance(node, ast.expr) and " " in _text(node):
            yield Chunk(node.lineno, _text(node))


def without_code(text: str) -> str:
    """Markdown without code and link targets; lines keep their numbers."""
    for pattern in (r"(?s)^```.*?^```", r"^    \S.*$", r"``.+?``", r"`[^`]+`", r"\]\([^)\s]*\)"):
        text = re.sub(pattern, _blank, text, flags=re.MULTILINE)
    return text


def names(path: str, text: str) -> Iterator[Finding]:
    """Identifiers of the two programs that are out."""
    if not path.startswith(PROGRAMS) or not path.endswith(".py"):
        return
    for node in ast.walk(ast.parse(text)):
        for name in _bound_names(node):
            replacement = NAMES.get(name.lower().strip("_"))
            if replacement is not None:
                yield Finding(path, getattr(node, "lineno", 1), f"name {name}", replacement)


def findings(path: str) -> list[Finding]:
    """All findings of one file, in the order of its lines."""
    text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
    found = [
        Finding(path, chunk.line + _line_of(chunk.text, start), word, rule.replacement)
        for chunk in chunks(path, text)
        for rule in RULES
        if rule.applies_to(path)
        for start, word in _matches(rule, chunk.text)
    ]
    found += names(path, text)
    return sorted(set(found), key=lambda finding: (finding.line, finding.word))


def directory_of(path: str) -> str:
    """The directory by which sums are reported."""
    parts = Path(path).parts
    depth = 4 if path.startswith(PROGRAMS) else 3 if path.startswith("tests/cluster/src") else 2
    return "/".join(parts[: min(depth, len(parts) - 1)]) or "."


def _matches(rule: Rule, text: str) -> Iterator[tuple[int, str]]:
    for match in rule.regex.finditer(text):
        yield match.start(), " ".join(match[0].split())


def _line_of(text: str, position: int) -> int:
    lead = len(text[position:]) - len(text[position:].lstrip())
    return text.count("\n", 0, position + lead)


def _text(node: ast.expr) -> str:
    """The text of a string constant; empty for any other expression."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _bound_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.Attribute(attr=name, ctx=ast.Store()):
            yield name
