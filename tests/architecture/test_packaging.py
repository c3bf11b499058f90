"""What is installed is what lies in the folders: no module forgotten, nothing foreign shipped."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.house import ROOT, WINGS, files, modules

SHIPPED_DATA = (".toml", ".j2", ".typed")


def packages_on_disk() -> set[str]:
    return {
        "backrow." + Path(path).parent.as_posix().replace("/", ".")
        for path in files()
        if path.endswith(".py") and path.split("/")[0] in WINGS
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from a copy of the tree, so that no build folder is left behind or picked up."""
    tree = tmp_path_factory.mktemp("tree")
    for path in files():
        if path.split("/")[0] in {*WINGS, "tests", "benchmarks", "examples"} or "/" not in path:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes((ROOT / path).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (path,) = (tree / "out").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_every_folder_with_python_is_listed_as_a_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings["packages"]) == packages_on_disk()
    assert settings["package-dir"] == {f"backrow.{wing}": wing for wing in WINGS}


def test_every_package_has_an_init_and_backrow_itself_has_none() -> None:
    # backrow is a namespace package; a sub-package without __init__ would be found by some tools and not by others.
    assert {name for name, path in modules().items() if path.name == "__init__.py"} == packages_on_disk()
    assert "__init__.py" not in files()


@pytest.mark.xdist_group("wheel")
def test_the_wheel_carries_every_module_and_data_file(wheel: set[str]) -> None:
    expected = {
        f"backrow/{path}" for path in files() if path.split("/")[0] in WINGS and path.endswith((".py", *SHIPPED_DATA))
    }
    assert {f"backrow/{wing}/py.typed" for wing in WINGS} <= expected
    assert {name for name in wheel if name.startswith("backrow/")} == expected


@pytest.mark.xdist_group("wheel")
def test_the_wheel_installs_nothing_beside_backrow(wheel: set[str]) -> None:
    # A top-level `tests` or `benchmarks` would collide with other packages' (Opacus ships such).
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"backrow"}


def test_no_file_of_a_wing_is_left_out_of_the_wheel_by_its_ending() -> None:
    endings = {Path(path).suffix for path in files() if path.split("/")[0] in WINGS and not path.endswith(".typed")}
    assert endings <= {".py", *SHIPPED_DATA}, "tell [tool.setuptools.package-data] and SHIPPED_DATA about new kinds"
