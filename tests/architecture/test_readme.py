"""What README.md tells people to type exists, and what is marked as tested runs.

Commands stand in blocks fenced with ```sh. A comment line `<!-- tested -->` right before the fence makes this
test run the block, in an empty folder, with the environment's programs first on PATH. In every other block
each `make TARGET` must be a target and each `backrow COMMAND` a command.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house import ROOT

FENCE = re.compile(r"^(?P<mark><!-- tested -->\n)?```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BIN = Path(sys.executable).parent


class Block(NamedTuple):
    text: str
    tested: bool


def blocks(page: str) -> list[Block]:
    return [Block(match["text"], match["mark"] is not None) for match in FENCE.finditer(page)]


def commands(page: str) -> list[list[str]]:
    """The words of every command line, comments and continuation lines resolved."""
    lines = "".join(block.text for block in blocks(page)).replace("\\\n", " ").splitlines()
    split = [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]
    return [words for words in split if words]


README = (ROOT / "README.md").read_text()
TARGETS = sorted({words[1] for words in commands(README) if words[0] == "make" and len(words) > 1})
SUBCOMMANDS = sorted({words[1] for words in commands(README) if words[0] == "backrow" and len(words) > 1})
TESTED = [block.text for block in blocks(README) if block.tested]


def test_the_readme_opens_with_the_two_commands() -> None:
    assert {"demo", "test"} <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_backrow_command_of_the_readme_exists(command: str) -> None:
    result = subprocess.run([str(BIN / "backrow"), command, "--help"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("text", TESTED)
def test_a_tested_block_of_the_readme_runs(text: str, tmp_path: Path) -> None:
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-euc", text], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_blocks_and_their_marks_are_read() -> None:
    page = (
        "a\n<!-- tested -->\n```sh\nmake test  # all\n```\nb\n```sh\ncd x && backrow \\\n  demo\n```\n```py\nno\n```\n"
    )
    assert blocks(page) == [Block("make test  # all\n", True), Block("cd x && backrow \\\n  demo\n", False)]
    assert commands(page) == [["make", "test"], ["cd", "x"], ["backrow", "demo"]]
