"""No file names a machine: neither a path of where it was written nor a package registry's host."""

import re
import subprocess
import sys

import pytest

from tests.house import ROOT, files

OWN = "tests/architecture/test_machine_traces.py"
"""This file names what it looks for."""

TRACE = re.compile(
    r"""
      (?<![\w./~-])/(?:work|home|root|farm|Users|mnt|opt|private|scratch|workspace)/\w  # folders
    | (?<![\w./~-])/tmp/\w  # left-overs
    | \b[A-Z]:\\\\?\w+\\                                                                 # Windows
    | --(?:extra-)?index-url | \bindex-url\s*= | --trusted-host                          # registries
    | \b(?:artifactory|nexus|devpi|pypi-mirror)\b
    | \b(?:pypi\.org|files\.pythonhosted\.org|test\.pypi\.org|download\.pytorch\.org)\b
    """,
    re.VERBOSE,
)


def own_registries() -> list[str]:
    """Hosts that pip on this machine asks: they must not end up in a file."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    settings = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [host for host in re.findall(r"https?://(?:[^@/\s']*@)?([^/\s':]+)", settings) if "." in host]


REGISTRIES = own_registries()


def traces(text: str) -> list[str]:
    return [match.group() for match in TRACE.finditer(text)] + [host for host in REGISTRIES if host in text]


@pytest.mark.parametrize(
    "text",
    [
        "/" + "home/somebody/backrow",
        'Path("/' + 'work/shared/data")',
        "cd /" + "tmp/scratch",
        "C:" + "\\Users\\somebody",
        "pip install --extra-" + "index-url x",
        "https://" + "pypi.org/simple",
    ],
)
def test_a_trace_is_found(text: str) -> None:
    assert traces(text)


def test_ordinary_text_holds_no_trace() -> None:
    text = "../shared/data https://files.grouplens.org/datasets/ml-1m.zip a/work/b ~/home/x s/tmp/t /path/to/python3"
    assert traces(text) == []


def test_no_file_names_a_machine() -> None:
    contents = {path: (ROOT / path).read_bytes() for path in files(new=False) if path != OWN}
    held = {path: traces(content.decode()) for path, content in contents.items() if b"\0" not in content}
    assert {path: found for path, found in held.items() if found} == {}
