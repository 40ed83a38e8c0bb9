#!/usr/bin/env python3
"""Writes docs/relay-settings.md, every setting of the relay, from its config.py.

Usage: python docs/generate_relay_settings.py [--check]
With --check nothing is written, and the exit code is 1 when the page is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tokenplace_relay.settings.config import about
from tokenplace_relay.settings.setting import About

PAGE = Path(__file__).resolve().parent / "relay-settings.md"

HEAD = """# Settings of the relay

Generated from `relay/src/tokenplace_relay/settings/config.py` by `make docs`. Do not edit.

A flag of `tokenplace-relay serve` wins over its environment variable, and that over the default.
All are read once, at the start; a value that cannot be used ends the process with exit code 2 and
one line that names it. Times are seconds, sizes are bytes, true is `1`, `true`, `yes` or `on`.
Older names are read when the first one is not set. Secrets have no flag, as other users of a
machine can read command lines.

With the operator, put variables of your own into `spec.podTemplate.env`.
"""

UNREAD = (
    (
        "`RELAY_WORKERS`, `RELAY_THREADS`, `RELAY_TIMEOUT`, `RELAY_WORKER_TMP_DIR`",
        "one process with one event loop serves everything",
    ),
    (
        "`RELAY_GRACEFUL_TIMEOUT`",
        "the drain has `RELAY_DRAIN_DELAY_SECONDS` and `RELAY_DRAIN_TIMEOUT_SECONDS`",
    ),
    (
        "`USE_MOCK_LLM`, `TOKEN_PLACE_ENV`, `TOKENPLACE_API_V1_COMPUTE_PROVIDER`, "
        "`TOKENPLACE_API_V1_DISTRIBUTED_FALLBACK`",
        "no model runs inside this relay: compute nodes answer",
    ),
    (
        "`TOKENPLACE_API_V1_DISTRIBUTED_RELAY_URL` and the other target URLs",
        "the facade asks this relay itself, without HTTP",
    ),
    ("`CONTENT_MODERATION_*`", "nothing is moderated: the relay cannot read what passes"),
    (
        "`XDG_*`, `TOKEN_PLACE_CONFIG`, `TOKEN_PLACE_ENV_FILE`, `TOKEN_PLACE_PROVIDER_REGISTRY`",
        "no file is read or written",
    ),
    (
        "`TOKEN_PLACE_RELAY_UPSTREAMS`, `PERSONAL_GAMING_PC_URL`",
        "there is one GPU upstream, and it is probed",
    ),
)
"""Variables of token.place's relay.py, and why they have no meaning here."""


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit code."""
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print("docs/relay-settings.md is out of date: run make docs", file=sys.stderr)
    return 1


def page() -> str:
    """The whole page as Markdown."""
    head = ["| Variable | Flag | Default | Meaning |", "|---|---|---|---|"]
    unread = [
        "| Variables | Why |",
        "|---|---|",
        *(f"| {names} | {why} |" for names, why in UNREAD),
    ]
    title = "\n## Names of token.place's relay.py that are not read\n"
    return "\n".join([HEAD, *head, *(_row(one) for one in about()), title, *unread]) + "\n"


def _row(one: About) -> str:
    flag = f"`{one.flag}`" if one.flag else ""
    default = f"`{one.default}`" if one.default else ""
    cells = [f"`{one.variable}`", flag, default, " ".join(_meaning(one))]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _meaning(one: About) -> list[str]:
    parts = [f"{one.text[0].upper()}{one.text[1:]}."]
    if one.span:
        parts.append(f"{one.span[0].upper()}{one.span[1:]}.")
    if one.also:
        parts.append("Older names: " + ", ".join(f"`{name}`" for name in one.also) + ".")
    return parts


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
