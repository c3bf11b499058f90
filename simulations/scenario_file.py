"""Reads a scenario: file, then `--set` overrides, then flags; every mistake becomes one sentence."""

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from backrow.privacy.errors import ScenarioError
from backrow.simulations.scenario import Scenario

Table = dict[str, Any]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_SHORT_NUMBER = re.compile(r"[+-]?(\.\d+|\d+\.)([eE][+-]?\d+)?")
"""What everybody but TOML takes for a number."""
_BARE_WORD = re.compile(r"[^\s\"'\[\]{},]+")
_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "path_type": "a path",
    "tuple_type": "a list",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def load_scenario(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    engine: str | None = None,
    trainer: str | None = None,
) -> Scenario:
    """The scenario of a TOML file.

    Args:
        path: of the file; a relative data.path in it starts at the file's folder.
        overrides: "section.key=value", the value as TOML, a bare word as text.
        data: name or path of a data set, in place of the file's.
        engine, trainer: in place of the file's.

    Raises:
        ScenarioError: the file is missing or no TOML, or a key or value is not understood.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScenarioError(f"there is no scenario file {path}: examples/ has some to start from") from None
    except OSError as error:
        raise ScenarioError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{path} is not text in UTF-8: a scenario is a TOML file") from None
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{path} is not TOML: {error}") from None
    _start_paths_at(path.absolute().parent, table)
    overridden = {_apply(override, table): f"--set {override}" for override in overrides}
    if data is not None:
        _replace_data(data, table)
    table.update({key: value for key, value in (("engine", engine), ("trainer", trainer)) if value is not None})
    return make_scenario(table, str(path), overridden)


def make_scenario(table: Table, source: str, overridden: Mapping[str, str] = MappingProxyType({})) -> Scenario:
    """Validate a table.

    Args:
        table: as in a scenario file; not changed.
        source: named in error messages.
        overridden: dotted keys that have another source.

    Raises:
        ScenarioError: a key or value is not understood; one sentence for each.
    """
    try:
        return Scenario.model_validate(table)
    except ValidationError as problem:
        sentences = dict.fromkeys(_sentence(error, source, overridden) for error in problem.errors())
        raise ScenarioError("\n".join(sentences)) from None


def known_keys(model: type[BaseModel] = Scenario, prefix: str = "") -> Iterator[str]:
    """Every key of a scenario, dotted: "seed", "privacy.epsilon", ..."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from known_keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _apply(override: str, table: Table) -> str:
    """Set one value; returns its dotted key."""
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(_NAME.fullmatch(part) for part in parts):
        raise ScenarioError(f"--set {override!r} is not understood: write --set section.key=value")
    for depth, part in enumerate(parts[:-1], start=1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ScenarioError(f"--set {override!r}: {'.'.join(parts[:depth])} is a value, not a section")
    table[parts[-1]] = parse_value(f"--set {override!r}", text.strip())
    return ".".join(parts)


def parse_value(said: str, text: str) -> object:
    """A TOML value, a number such as .5, or a bare word as text.

    Args:
        said: names the source in the refusal.

    Raises:
        ScenarioError: it is none of them.
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if _SHORT_NUMBER.fullmatch(text):
            return float(text)
        if _BARE_WORD.fullmatch(text):
            return text
        raise ScenarioError(f"{said}: {text!r} is no TOML value; put text in quotes") from None
    return parsed["value"]


def _start_paths_at(folder: Path, table: Table) -> None:
    section = table.get("data")
    if isinstance(section, dict) and isinstance(section.get("path"), str):
        section["path"] = str(folder / section["path"])


def _replace_data(data: str, table: Table) -> None:
    section = table.setdefault("data", {})
    if not isinstance(section, dict):
        return  # refused below, by its type
    section.pop("name", None)
    section.pop("path", None)
    if _NAME.fullmatch(data):
        section["name"] = data
    else:
        section["path"] = str(Path(data).absolute())


def _sentence(error: ErrorDetails, source: str, overridden: Mapping[str, str]) -> str:
    key = ".".join(part for part in error["loc"] if isinstance(part, str))
    value, context = error["input"], error.get("ctx", {})
    source = overridden.get(key, source)
    match error["type"]:
        case "extra_forbidden":
            known = list(known_keys())
            if isinstance(value, dict):
                known = list(dict.fromkeys(name.partition(".")[0] for name in known if "." in name))
            return f"unknown {'section' if isinstance(value, dict) else 'key'} {key} in {source}{meant(key, known)}"
        case "missing" if key == "data":
            return f'{source} does not say which data: add [data] with name = "ml-100k" or a path'
        case "model_type" | "model_attributes_type":
            return f"{key} in {source} must be a section, [{key}], got {_shown(value)}"
        case "literal_error":
            choices = _choices(error["loc"])
            return f"{key} in {source} must be one of {', '.join(choices)}, got {_shown(value)}{meant(value, choices)}"
        case "too_short" | "string_too_short":
            return f"{key} in {source} must not be empty"
        case "value_error":
            return f"{key} in {source}: {context['error']}"
        case kind if kind in _BOUNDS:
            words, bound = _BOUNDS[kind]
            hint = ' (epsilon = "none" claims no privacy)' if key == "privacy.epsilon" else ""
            return f"{key} in {source} must be {words} {context[bound]:g}, got {_shown(value)}{hint}"
        case kind if kind in _TYPES:
            return f"{key} in {source} must be {_TYPES[kind]}, got {_shown(value)}"
    return f"{key} in {source} is not understood ({_shown(value)}): {error['msg']}"


def _choices(location: tuple[int | str, ...]) -> list[str]:
    """The words that the literal at this place of a scenario admits."""
    annotation: Any = Scenario
    for part in location:
        annotation = get_args(annotation)[0] if isinstance(part, int) else annotation.model_fields[part].annotation
    literals = [part for part in get_args(annotation) if get_origin(part) is Literal] or [annotation]
    return [str(choice) for literal in literals for choice in get_args(literal)]


def meant(said: object, known: list[str]) -> str:
    """A suggestion: the closest key, or the one with the same last word in another section."""
    if not isinstance(said, str):
        return ""
    same_word = [key for key in known if key.rpartition(".")[2] == said.rpartition(".")[2]]
    close = difflib.get_close_matches(said, known, n=1) or same_word[:1]
    if not close:
        words = {key.rpartition(".")[2]: key for key in known}
        close = [words[word] for word in difflib.get_close_matches(said.rpartition(".")[2], words, n=1)]
    return f": did you mean {close[0]}?" if close else ""


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
