#!/usr/bin/env python3
"""Writes docs/operator-settings.md, every setting of the operator, from its settings.py.

Usage: python docs/generate_operator_settings.py [--check]
With --check nothing is written, and the exit code is 1 when the page is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tokenplace_operator.settings import Setting, settings

PAGE = Path(__file__).resolve().parent / "operator-settings.md"

HEAD = """# Settings of the operator

Generated from `operator/src/tokenplace_operator/settings.py` by `make docs`. Do not edit.

A flag of `tokenplace-operator run` wins over its environment variable, and that over the default.
All are read once, at the start; a value that cannot be used ends the process with exit code 2 and
one line that names it. The chart passes the flags that have a value of the chart.

| Flag | Variable | Default | Chart | Meaning |
|---|---|---|---|---|
"""


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit code."""
    text = HEAD + "".join(map(_row, settings()))
    if "--check" not in arguments:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print("docs/operator-settings.md is out of date: run make docs", file=sys.stderr)
    return 1


def _row(setting: Setting) -> str:
    default = "" if setting.is_list else f"`{setting.default}`"
    chart = f"`operator.{setting.chart}`" if setting.is_chart_value else _fixed(setting)
    rule = f" Allowed: {setting.rule}." if setting.rule and not setting.choices else ""
    cells = [f"`{setting.flag}`", f"`{setting.variable}`", default, chart, setting.help + rule]
    return f"| {' | '.join(cells)} |\n"


def _fixed(setting: Setting) -> str:
    return f"always `{setting.chart}`" if setting.chart else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
