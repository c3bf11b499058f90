"""For every test: no telemetry, one Ray at a time, and real data that is never skipped in CI.

Fixtures: `data_dir` and `vectors_dir`. A test that needs real data may also skip by itself; the reason
must then name BACKROW_DATA or BACKROW_VECTORS, so that CI can turn the skip into a failure.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
NEEDED_IN_CI = ("BACKROW_DATA", "BACKROW_VECTORS")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start Ray share one xdist worker."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test skipped in CI for want of real data has failed."""
    return _never_skip_real_data((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that skips itself."""
    return _never_skip_real_data((yield))


def _never_skip_real_data(report: Report) -> Report:
    if os.environ.get("CI") == "true" and report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2])
        if any(name in reason for name in NEEDED_IN_CI):
            report.outcome = "failed"
            report.longrepr = f"in CI this is not skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with ml-100k/ and ml-1m/."""
    return _folder("BACKROW_DATA", "the MovieLens files")


@pytest.fixture(scope="session")
def vectors_dir() -> Path:
    """The folder with published test vectors."""
    return _folder("BACKROW_VECTORS", "the published test vectors")


def _folder(variable: str, holds: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set: it names the folder with {holds}")
    return Path(os.environ[variable])
