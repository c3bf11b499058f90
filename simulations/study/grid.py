"""The cells of a sweep: one scenario with some of its values replaced, checked before anything runs."""

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backrow.privacy.errors import ScenarioError
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import known_keys, make_scenario, meant, parse_value

Value = str | int | float | bool

MOST_CELLS = 10_000
SHARED = ("seed", "engine", "nodes", "data.", "evaluation.", "retrain")
"""What all cells of a sweep have in common: the seed has its own option, the others change no figure or every one."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One key of a scenario and the values that it takes."""

    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the rule for rounds weighs: devices that are asked about, the real ones, and titles."""

    devices: int
    population: int
    titles: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to compute, on its own.

    Attributes:
        scenario: all of it, its seed included.
        point: key and value of every axis.
        kind: "run": train and evaluate; "baselines": fit and evaluate the scenario's baselines.
        devices: train on so many devices drawn at random, and evaluate on all; None: all.
    """

    scenario: Scenario
    point: tuple[tuple[str, Value], ...]
    kind: Literal["run", "baselines"] = "run"
    devices: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        where = ", ".join(f"{key}={value}" for key, value in self.point)
        return "baselines" if self.kind == "baselines" else f"{where or 'the scenario'}, seed {self.scenario.seed}"


def parse_axis(text: str) -> Axis:
    """An axis from "privacy.epsilon=1,2,none"; values as in a scenario file.

    Raises:
        ScenarioError: it is not understood, names an unknown or shared key, or a value twice.
    """
    said = f"--grid {text}"
    key, equals, rest = text.partition("=")
    key = key.strip()
    if not equals or not key or not rest.strip():
        raise ScenarioError(f"{said!r} is not understood: write --grid section.key=value,value")
    known = list(known_keys())
    if key not in known:
        raise ScenarioError(f"unknown key {key} in {said}{meant(key, known)}")
    if key.startswith(SHARED):
        instead = "use --seeds" if key == "seed" else "set it for the whole sweep with --set"
        raise ScenarioError(f"{key} is the same for all cells of a sweep: {instead}")
    values = _values(said, rest)
    if len(set(map(repr, values))) < len(values):
        raise ScenarioError(f"{said} names a value twice: name each once")
    return Axis(key, values)


def _values(said: str, text: str) -> tuple[Value, ...]:
    try:
        parsed: list[Any] = tomllib.loads(f"value = [{text}]")["value"]
    except tomllib.TOMLDecodeError:
        parsed = [parse_value(said, word.strip()) for word in text.split(",")]
    if not all(isinstance(value, str | int | float | bool) for value in parsed):
        raise ScenarioError(f"{said}: a grid holds numbers, words and true or false")
    return tuple(parsed)


def cells_of(base: Scenario, axes: Sequence[Axis], seeds: int) -> list[Cell]:
    """Every point of the grid with every seed, in order; seeds count up from the scenario's.

    Raises:
        ScenarioError: two axes name one key, a value is refused, or there are too many cells.
    """
    keys = [axis.key for axis in axes]
    if len(set(keys)) < len(keys):
        raise ScenarioError("--grid names a key twice: give its values together, separated by commas")
    if seeds < 1:
        raise ScenarioError(f"a sweep needs at least one seed, got {seeds}")
    points = list(itertools.product(*(axis.values for axis in axes)))
    if len(points) * seeds > MOST_CELLS:
        raise ScenarioError(f"{len(points) * seeds:,} cells are more than a sweep takes ({MOST_CELLS:,}): fewer values")
    cells = []
    for values in points:
        point = tuple(zip(keys, values, strict=True))
        there = replaced(base, point)
        cells += [Cell(there.model_copy(update={"seed": base.seed + number}), point) for number in range(seeds)]
    return cells


def replaced(base: Scenario, point: Sequence[tuple[str, Value]]) -> Scenario:
    """The scenario with some values replaced, validated as a whole.

    Raises:
        ScenarioError: a value is refused.
    """
    table = tomllib.loads(base.to_toml())
    for key, value in point:
        section, _, name = key.rpartition(".")
        (table.setdefault(section, {}) if section else table)[name] = value
    return make_scenario(table, "the grid", {key: f"--grid {key}" for key, _ in point})
