"""Flower, Ray and MLflow report their use unless told not to before they are imported: backrow tells them."""

import json
import os
import subprocess
import sys

import pytest

from tests.house import imports, modules

SILENT = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"} | {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}

# Notes the variables at the moment flwr or ray is first asked for, and at the end.
PROBE = """
import importlib, json, os, sys
names = {names!r}
at_import = {{}}
class Probe:
    def find_spec(self, name, path=None, target=None):
        if name in ("flwr", "ray"):
            at_import.setdefault(name, {{key: os.environ.get(key) for key in names}})
sys.meta_path.insert(0, Probe())
importlib.import_module({module!r})
print(json.dumps([at_import, {{key: os.environ.get(key) for key in names}}]))
"""


def observe(module: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Import a module in a fresh process without the variables: (as seen by flwr and ray, as they are afterwards)."""
    env = {key: value for key, value in os.environ.items() if key not in SILENT}
    probe = PROBE.format(names=list(SILENT), module=module)
    result = subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, text=True, check=True)
    at_import, afterwards = json.loads(result.stdout.splitlines()[-1])
    return at_import, afterwards


def uses_flower(source: str) -> bool:
    return any(name.split(".")[0] in ("flwr", "ray") for name in imports(source))


ENTRANCES = ["backrow.simulations", "backrow.simulations.cli"]
RUNNERS = [name for name, path in modules().items() if ".simulations." in name and uses_flower(path.read_text())]


@pytest.mark.parametrize("module", ENTRANCES)
def test_entering_the_simulations_switches_telemetry_off(module: str) -> None:
    _, afterwards = observe(module)
    assert afterwards == SILENT


@pytest.mark.parametrize("module", RUNNERS)
def test_telemetry_is_off_before_flower_or_ray_is_imported(module: str) -> None:
    at_import, _ = observe(module)
    assert at_import, f"{module} was expected to import flwr or ray"
    assert all(seen == SILENT for seen in at_import.values())


def test_the_probe_sees_that_flower_alone_is_not_silenced() -> None:
    at_import, _ = observe("flwr.app")
    assert set(at_import["flwr"].values()) == {None}
