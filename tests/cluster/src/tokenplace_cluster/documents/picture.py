"""Draws SVG pictures of a terminal from a program's output, and reads their text back."""

import re
import xml.etree.ElementTree as ET
from io import StringIO

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 130
"""Columns: wide enough for an image reference with its digest."""
_FONTS = re.compile(r" *@font-face \{\{.*?\}\}\n", re.DOTALL)
"""Web fonts in rich's frame: a picture in a page must not fetch anything."""
_LINE = re.compile(r"-line-(\d+)\)")
_CHANGING = (
    (r"\brelay-[0-9a-z]+-[0-9a-z]{5}\b", "relay-POD"),
    (r"sha256:[0-9a-f]+", "sha256:…"),
    (r"\b\d{4}-\d{2}-\d{2}T[\d:.]+Z", "TIME"),
    (r"\b\d+ ?(s|m|h|d|seconds|minutes)\b", "TIME"),
    (r"\b\d+\.\d+\.\d+\.\d+\b", "ADDRESS"),
)
"""Pattern -> replacement for text that differs between runs."""


def draw(command: str, printed: str) -> str:
    """Return an SVG of a terminal that shows the command and its coloured output."""
    prompt = Text.assemble(("$ ", "green"), (command, "bold"), "\n")
    text = prompt + Text.from_ansi(printed.rstrip("\n"))
    width = min(WIDTH, max(line.cell_len for line in text.split()))
    console = Console(
        record=True, width=width, file=StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(text)
    frame = _FONTS.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title=command, code_format=frame, unique_id="terminal") + "\n"


def shown(picture: str) -> str:
    """The text of a picture, without spaces and text that differs between runs."""
    elements = ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    parts = [
        (int(line[1]), float(element.get("x", 0)), element.text or "")
        for element in elements
        if (line := _LINE.search(element.get("clip-path", "")))
    ]
    return _normalized(" ".join(text for _, _, text in sorted(parts)))


def typed(command: str, printed: str) -> str:
    """The text that a picture of a command and its output must have."""
    return _normalized(f"$ {command}\n{Text.from_ansi(printed).plain}")


def _normalized(text: str) -> str:
    text = " ".join(text.replace("\xa0", " ").split())
    for pattern, word in _CHANGING:
        text = re.sub(pattern, word, text)
    return text.replace(" ", "")
