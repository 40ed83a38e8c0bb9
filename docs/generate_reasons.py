#!/usr/bin/env python3
"""Write the tables of docs/conditions.md as JSON, for `kubectl tokenplace explain`.

`make docs` runs it. With --check nothing is written; exit code 1 means that it is out of date.
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
    """Return meaning and next step by reason; the first row of a reason counts."""
    rows: dict[str, dict[str, str]] = {}
    title = ""
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            title = ""
        elif not title:
            title = cells[0]
        elif title in {"Reason", "Event"} and cells[0].startswith("`"):
            row = {"meaning": _plain(cells[-2]), "step": _plain(cells[-1])}
            rows.setdefault(cells[0].strip("`"), row)
    return rows


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
