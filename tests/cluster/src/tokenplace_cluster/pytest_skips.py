"""A pytest plugin that makes a skipped test a failure where every test must run."""

import os
from collections.abc import Generator

import pytest


def requires_all() -> bool:
    """Whether every collected test must run: in CI, or with TOKENPLACE_REQUIRE_ALL=1."""
    return bool(os.environ.get("TOKENPLACE_REQUIRE_ALL") or os.environ.get("CI"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report a skipped test as failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and requires_all():
        report.outcome = "failed"
        report.longrepr = f"skipped, but every test must run here: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Report a skipped module as failed."""
    report = yield
    if report.skipped and requires_all():
        report.outcome = "failed"
        report.longrepr = f"skipped, but every test must run here: {report.longrepr}"
    return report
