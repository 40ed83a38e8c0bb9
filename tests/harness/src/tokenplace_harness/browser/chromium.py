"""Debian's Chromium, without a screen and without a word to anyone outside."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tokenplace_cluster.programs.debian import require_packages

PROGRAM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
]


@contextmanager
def started() -> Iterator[Browser]:
    """A browser with a profile of its own, gone at the end; installs Chromium if it is missing."""
    require_packages({PROGRAM: "chromium"})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()
