"""The repository as a reader finds it."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.house import ROOT, files, modules

LONGEST = 300
LONGER_FOR_A_REASON: dict[str, str] = {}
"""Module -> why it has no natural seam."""

TOP_LEVEL = {
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "client",
    "constraints.txt",
    "docs",
    "examples",
    "privacy",
    "pyproject.toml",
    "server",
    "simulations",
    "tests",
}

LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")


def test_nothing_new_lies_at_the_top() -> None:
    assert {path.split("/")[0] for path in files(new=False)} <= TOP_LEVEL


def test_no_module_is_longer_than_three_hundred_lines() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    long = {name: length for name, length in lengths.items() if length > LONGEST and name not in LONGER_FOR_A_REASON}
    assert long == {}
    assert all(lengths[name] > LONGEST for name in LONGER_FOR_A_REASON), "take shortened modules off the list"


def test_every_module_says_what_lives_there() -> None:
    silent = [name for name, path in modules().items() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_every_room_introduces_itself_in_at_most_three_lines() -> None:
    rooms = {name: path for name, path in modules().items() if path.name == "__init__.py"}
    words = {name: ast.get_docstring(ast.parse(path.read_text())) or "" for name, path in rooms.items()}
    assert [name for name, text in words.items() if len(text.splitlines()) > 3 or text.startswith("Placeholder")] == []


def test_no_ignored_file_is_tracked() -> None:
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""


@pytest.mark.parametrize("page", [path for path in files(new=False) if path.endswith(".md")])
def test_links_between_pages_lead_somewhere(page: str) -> None:
    targets = LINK.findall((ROOT / page).read_text())
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_a_dead_link_is_found() -> None:
    assert LINK.findall("[a](no/such.md) [b](https://example.org) [c](#here) [d](x.md#there)") == ["no/such.md", "x.md"]
    assert not (Path(ROOT) / "no/such.md").exists()
