"""Where $CI is set, a skipped test is a failure: there everything is installed, but a GPU."""

import os
from collections.abc import Iterator

import pytest


def allowed(item: pytest.Item) -> bool:
    """Whether a test may be skipped here."""
    return not os.environ.get("CI") or item.get_closest_marker("gpu") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail what one test leaves out."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not allowed(item):
        report.longrepr = f"skipped, where $CI allows no skip: {_reason(report.longrepr)}"
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Fail what a whole file leaves out."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.longrepr = f"skipped, where $CI allows no skip: {_reason(report.longrepr)}"
        report.outcome = "failed"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
