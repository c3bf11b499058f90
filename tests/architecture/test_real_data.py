"""Tests on real data skip with a reason on a bare machine, and fail in CI instead of skipping."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import ROOT

Outcome = Callable[..., tuple[int, str]]

NEEDS_DATA = """
import pytest

def test_by_fixture(data_dir):
    assert (data_dir / "ml-100k").name == "ml-100k"

@pytest.mark.skipif("'BACKROW_DATA' not in __import__('os').environ", reason="needs BACKROW_DATA")
def test_by_mark():
    pass

def test_by_call():
    import os
    if "BACKROW_DATA" not in os.environ:
        pytest.skip("needs BACKROW_DATA")

def test_that_skips_for_another_reason():
    pytest.skip("only on Mondays")
"""

WHOLE_FILE = """
import os, pytest
if "BACKROW_DATA" not in os.environ:
    pytest.skip("needs BACKROW_DATA", allow_module_level=True)

def test_something():
    pass
"""


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    """Runs tests that need data in a fresh pytest: its exit status and closing line."""

    def run(**settings: str) -> tuple[int, str]:
        shutil.copy(ROOT / "tests/conftest.py", tmp_path)
        (tmp_path / "test_needs.py").write_text(NEEDS_DATA)
        (tmp_path / "test_whole.py").write_text(WHOLE_FILE)
        env = {key: value for key, value in os.environ.items() if key not in ("CI", "BACKROW_DATA")} | settings
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
        result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout.splitlines()[-1]

    return run


def test_without_data_they_skip(outcome: Outcome) -> None:
    status, line = outcome()
    assert status == 0
    assert line.startswith("5 skipped")


def test_without_data_in_ci_they_fail(outcome: Outcome) -> None:
    status, _ = outcome(CI="true")
    assert status == 2  # a whole file that skips itself interrupts the collection


def test_without_data_in_ci_every_single_one_fails(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--continue-on-collection-errors")
    status, line = outcome(CI="true")
    assert status == 1
    assert line.startswith("1 failed, 1 skipped, 3 errors")  # what skips before its body runs is an error


def test_with_data_they_run(outcome: Outcome, tmp_path: Path) -> None:
    status, line = outcome(CI="true", BACKROW_DATA=str(tmp_path))
    assert status == 0
    assert line.startswith("4 passed, 1 skipped")
