"""The audit runs where only `backrow[audit]` is installed: neither the simulator's packages nor a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ledgers import KEY, honest, write

BLOCKED = (
    "torch", "flwr", "ray", "opacus", "matplotlib", "pyarrow", "pandas", "safetensors", "tomli_w", "pooch",
    "threadpoolctl",
)  # fmt: skip
PROBE = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError("blocked: " + name)

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        raise RuntimeError("the audit is offline: " + event)

sys.meta_path.insert(0, Blocked())
sys.addaudithook(refuse)
from backrow.privacy.audit.cli import main
main()
"""


def audit(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROBE, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "120"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("audit") / "run", honest(sentinels=300, rows=310))


@pytest.mark.parametrize("command", [("verify",), ("verify", "--json"), ("show",), ("tamper-demo",)])
def test_an_auditor_needs_nothing_of_the_simulator(run: Path, command: tuple[str, ...]) -> None:
    result = audit(command[0], run, *command[1:])
    assert result.returncode == 0, result.stderr


def test_a_key_is_pinned_there_too(run: Path) -> None:
    assert "(pinned)" in audit("verify", run, "--key", KEY.public.hex()).stdout


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("import torch", "blocked: torch"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "the audit is offline"),
    ],
)
def test_the_probe_would_stop_a_blocked_import_and_a_connection(statement: str, told: str) -> None:
    probe = PROBE.replace("from backrow", f"{statement}\nfrom backrow")
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert told in result.stderr
