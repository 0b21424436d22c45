"""Where $CI or $MMCAF_ON_GPU is set, a skipped test is a failure: there everything is installed, but for $CI a GPU."""

import os
from collections.abc import Iterator

import pytest


def strict() -> str | None:
    """The variable that forbids skips here."""
    return next((f"${name}" for name in ("MMCAF_ON_GPU", "CI") if os.environ.get(name)), None)


def allowed(item: pytest.Item) -> bool:
    """Whether a test may be skipped here."""
    return strict() is None or (strict() == "$CI" and item.get_closest_marker("gpu") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Fail what one test leaves out."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not allowed(item):
        report.longrepr = f"skipped, where {strict()} allows no skip: {_reason(report.longrepr)}"
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Fail what a whole file leaves out."""
    report = yield
    if report.skipped and strict():
        report.longrepr = f"skipped, where {strict()} allows no skip: {_reason(report.longrepr)}"
        report.outcome = "failed"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
