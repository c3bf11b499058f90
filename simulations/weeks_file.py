"""Reads the scenario file of a run over weeks."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from backrow.privacy.errors import ScenarioError
from backrow.simulations.section import Section

Kind = TypeVar("Kind", bound=Section)


def read_weeks_file(path: Path, kind: type[Kind]) -> Kind:
    """A scenario of this kind. A data file that it names is looked for beside it first.

    Raises:
        ScenarioError: it cannot be read, is no TOML, or holds what this kind of run does not know.
    """
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ScenarioError(f"{path}: {problem.strerror or problem}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise ScenarioError(f"{path} is not TOML: {problem}") from None
    if isinstance(data := table.get("data"), str) and (path.parent / data).is_file():
        table["data"] = str((path.parent / data).resolve())
    try:
        return kind.model_validate(table)
    except ValidationError as problem:
        sentences = [f"{path}: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problem.errors()]
        raise ScenarioError("\n".join(sentences)) from None
