"""Who may import what: direct imports by name here, reachability by the import-linter contracts."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT, WINGS, imports, modules

OPACUS = ["backrow.client.training.opacus_*"]
RUNNERS = ["backrow.simulations.runner*"]

ONLY = {
    "torch": [*OPACUS, "backrow.simulations.baselines.sasrec*"],
    "opacus": OPACUS,
    "flwr": ["backrow.client.app", "backrow.server.app", "backrow.server.strategy", *RUNNERS],
    "ray": RUNNERS,
    "jinja2": ["backrow.privacy.audit.report", "backrow.simulations.report*"],
}
"""These packages are imported by modules with such names and by nobody else."""

AUDIT = {"typer", "rich", "pydantic"}
"""What `backrow.privacy.audit` may import besides the rest of its wing: an auditor has a command line."""

SDK_APART = ["backrow.client.app", *OPACUS]
"""Modules of the client wing that the base install does not carry."""

ALLOWED = {
    "client": {"backrow", "numpy", "cryptography"},
    "privacy": {"backrow", "numpy", "cryptography", "scipy", "dp_accounting", "jinja2"},
}
"""Besides the standard library, a module of this wing imports these and nothing else."""

LEGACY = [
    "flwr.client",
    "flwr.simulation.start_simulation",
    "flwr.common.secure_aggregation",
    "flwr.server.strategy",
    "flwr.server.workflow",
    "*.NumPyClient",
    "*.client_fn",
    "*.start_*",
    "flwr.*secagg*",
    "flwr.*SecAgg*",
]
"""Flower's old interface (tutorials still teach it) and its secure aggregation, which is not ours."""


def named(module: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns)


def breaches(module: str, source: str) -> list[str]:
    """What this module imports and must not."""
    found = []
    wing = module.split(".")[1]
    for name in imports(source):
        top = name.split(".")[0]
        if top in ONLY and not named(module, ONLY[top]):
            found.append(f"{module} imports {name}: only {', '.join(ONLY[top])} may")
        allowed = ALLOWED.get(wing, set()) | (AUDIT if module.startswith("backrow.privacy.audit.") else set())
        if wing in ALLOWED and not named(module, SDK_APART) and top not in allowed | sys.stdlib_module_names:
            found.append(f"{module} imports {name}: the {wing} wing imports {', '.join(sorted(ALLOWED[wing]))} only")
        if named(name, LEGACY) or any(name.startswith(f"{old}.") for old in LEGACY):
            found.append(f"{module} imports {name}: that is Flower's legacy interface")
    return found


def test_every_module_imports_only_what_its_room_may() -> None:
    assert [line for name, path in modules().items() for line in breaches(name, path.read_text())] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("backrow.client.device", "import torch"),
        ("backrow.client.device", "def f():\n    from torch.nn import Linear"),
        ("backrow.client.device", "import scipy.stats"),
        ("backrow.client.device", "from flwr.app import Message"),
        ("backrow.client.training.opacus_device", "import flwr"),
        ("backrow.privacy.wire", "import torch"),
        ("backrow.privacy.wire", "import requests"),
        ("backrow.server.round", "from flwr.app import Message"),
        ("backrow.simulations.cli", "import ray"),
        ("backrow.simulations.runner_flower", "from flwr.client import NumPyClient"),
        ("backrow.simulations.runner_flower", "import flwr.client"),
        ("backrow.server.strategy", "from flwr.server.strategy import FedAvg"),
        ("backrow.server.strategy", "from flwr.server.workflow import SecAggPlusWorkflow"),
    ],
)
def test_a_forbidden_import_is_found(module: str, source: str) -> None:
    assert breaches(module, source)


def test_an_allowed_import_is_let_through() -> None:
    assert breaches("backrow.client.training.opacus_device", "import torch, opacus") == []
    assert breaches("backrow.client.app", "from flwr.clientapp import ClientApp") == []
    assert breaches("backrow.privacy.accounting.pld", "import scipy.stats\nimport dp_accounting") == []


def lint_imports(stage: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"]
    env = {**os.environ, "PYTHONPATH": str(stage)}
    return subprocess.run(command, cwd=stage, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The four wings laid out as in the wheel."""
    for wing in WINGS:
        shutil.copytree(ROOT / wing, tmp_path / "backrow" / wing, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_contracts_are_kept(stage: Path) -> None:
    result = lint_imports(stage)
    assert result.returncode == 0, result.stdout[result.stdout.find("Contracts") :]
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("privacy/errors.py", "import backrow.client.events", "Imports go down only"),
        ("server/__init__.py", "import backrow.client.events", "Imports go down only"),
        ("client/__init__.py", "import backrow.simulations", "Imports go down only"),
        ("privacy/errors.py", "import socket", "The privacy room reads no network"),
        ("client/events.py", "import scipy", "The device SDK reaches numpy"),
        ("privacy/clipping.py", "import scipy", "The device SDK reaches numpy"),
    ],
)
def test_a_broken_contract_is_found(stage: Path, file: str, line: str, broken: str) -> None:
    path = stage / "backrow" / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    result = lint_imports(stage)
    assert result.returncode == 1
    (verdict,) = [row for row in result.stdout.splitlines() if row.startswith(broken) and "BROKEN" in row]
    assert verdict
