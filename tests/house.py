"""The repository as the architecture tests see it: its files, its modules and what they import."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WINGS = ("client", "privacy", "server", "simulations")


@cache
def files(*, new: bool = True) -> tuple[str, ...]:
    """Paths of all tracked files and, if asked for, of new ones that git does not ignore."""
    command = ["git", "ls-files", "--cached", *(["--others", "--exclude-standard"] if new else [])]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(sorted({path for path in result.stdout.splitlines() if (ROOT / path).is_file()}))


@cache
def modules() -> dict[str, Path]:
    """Dotted name and file of every module of the four wings."""
    found = {}
    for path in files():
        if path.endswith(".py") and path.split("/")[0] in WINGS:
            found["backrow." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = ROOT / path
    return found


def imports(source: str) -> Iterator[str]:
    """Dotted names that a module's text imports, inside functions too; `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.ImportFrom():
                raise ValueError("relative import: the house imports by full name")
            case _:
                pass
