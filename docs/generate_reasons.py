#!/usr/bin/env python3
"""Writes what `kubectl tokenplace explain` says of reasons: tables of conditions.md as JSON.

`make docs` runs it. With --check it writes nothing and fails when the file is not current.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "conditions.md"
FILE = ROOT / "operator" / "src" / "tokenplace_operator" / "cli" / "reasons.json"

_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")


def reasons(page: str) -> dict[str, dict[str, str]]:
    """Meaning and next step by reason; of two rows for a reason the first counts."""
    found: dict[str, dict[str, str]] = {}
    title = ""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            title = ""
        elif not title:
            title = cells[0]
        elif title in {"Reason", "Event"} and cells[0].startswith("`"):
            row = {"meaning": _plain(cells[-2]), "step": _plain(cells[-1])}
            found.setdefault(cells[0].strip("`"), row)
    return found


def _plain(text: str) -> str:
    return _LINK.sub(r"\1", text).replace("`", "")


def main() -> int:
    """Write or check the file; 1 when it is not current."""
    text = json.dumps(reasons(PAGE.read_text()), indent=1) + "\n"
    if "--check" in sys.argv[1:]:
        return int(FILE.read_text() != text)
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
