"""`backrow sweep`: every point of a grid with every seed, in worker processes; resumed where it was killed.

A sweep's folder holds sweep.json (what was asked of which data), cells/ (one file per finished cell, named by what
was computed), sweep.parquet (every figure), summary.parquet (means over seeds) and sweep.html.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backrow.privacy.errors import BackrowError, ScenarioError
from backrow.privacy.plan import Aggregation
from backrow.simulations.baselines.registry import LINEAR
from backrow.simulations.pipeline import Prepared, commit, places_of
from backrow.simulations.progress import Observer, Progress, ignore
from backrow.simulations.results import write_whole
from backrow.simulations.scenario import Scenario
from backrow.simulations.study.cells import Record, blank, cell_key, compute
from backrow.simulations.study.grid import Axis, Cell, cells_of
from backrow.simulations.study.memory import available, check_memory, needed
from backrow.simulations.study.pool import Failure, Task, run_tasks
from backrow.simulations.study.shared import code_version, data_digest, forget, prepared_for, subsample
from backrow.simulations.study.tables import summary_of, write_tables
from backrow.simulations.wording import duration

SECURE = Aggregation.SECURE
SLOW = (
    "secure sums take minutes a cell: --set privacy.aggregation=trusted --set privacy.noise=once takes seconds, "
    "at the same epsilon"
)
SWEEP, CELLS, RUNS, LOG = "sweep.json", "cells", "runs", "workers.log"


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found.

    Attributes:
        folder: of it.
        scenario: that all cells started from.
        axes: of the grid.
        dataset, split, devices, titles: of the data.
        records: of all cells, in the grid's order, baselines last.
        skipped: how many of them were finished before.
        seconds: wall time of this call.
    """

    folder: Path
    scenario: Scenario
    axes: tuple[Axis, ...]
    dataset: str
    split: str
    devices: int
    titles: int
    records: tuple[Record, ...]
    skipped: int
    seconds: float

    @property
    def failed(self) -> tuple[Record, ...]:
        """Cells without figures."""
        return tuple(record for record in self.records if record.error is not None)

    def summary(self) -> list[dict[str, Any]]:
        """One row per point, model and protocol: means over seeds with t-intervals."""
        return summary_of(self.records)


def run_sweep(
    scenario: Scenario,
    axes: Sequence[Axis],
    folder: Path,
    *,
    seeds: int = 5,
    jobs: int = 2,
    baselines: bool = True,
    keep: bool = False,
    observe: Observer = ignore,
) -> Sweep:
    """Compute what is missing of a sweep and write its tables.

    Args:
        axes: of the grid; none: the scenario alone, with every seed.
        folder: of the sweep; where it holds one of the same data, its finished cells are kept.
        seeds: per point, counted up from the scenario's.
        jobs: worker processes.
        baselines: also fit the scenario's baselines, once.
        keep: leave every cell's run folder in runs/.

    Raises:
        ScenarioError: a cell cannot be, the folder holds something else, or memory will not suffice.
        DataError: the data cannot be read.
    """
    cells = cells_of(scenario, axes, seeds)
    if baselines and scenario.evaluation.baselines:
        cells.append(Cell(scenario, (), "baselines"))
    return run_cells(cells, scenario, axes, folder, jobs=jobs, keep=keep, observe=observe)


def run_cells(
    cells: Sequence[Cell],
    scenario: Scenario,
    axes: Sequence[Axis],
    folder: Path,
    *,
    jobs: int,
    keep: bool = False,
    observe: Observer = ignore,
) -> Sweep:
    """`run_sweep` for cells that are given."""
    if jobs < 1:
        raise ScenarioError(f"a sweep needs at least one worker, got {jobs}")
    started = time.monotonic()
    observe(Progress("stage", f"loading {scenario.data.name or scenario.data.path}"))
    forget()
    prepared = prepared_for(scenario)
    _check_cells(cells, prepared)
    linear = not LINEAR.isdisjoint(scenario.evaluation.baselines)
    each = max(needed(prepared, cell.kind == "baselines" and linear) for cell in cells)
    check_memory(each, min(jobs, len(cells)), available())
    if any(cell.kind == "run" and places_of(cell.scenario, len(prepared.population))[0] is SECURE for cell in cells):
        observe(Progress("stage", SLOW))
    data, code = data_digest(prepared.dataset, prepared.split, prepared.sample is not None), code_version()
    if begin(folder, scenario, axes, prepared, data, code):
        observe(Progress("stage", "the code is not what earlier cells were computed with: they are computed again"))
    keys = [cell_key(cell, data, code) for cell in cells]
    records = {key: found for key in keys if (found := _finished(folder, key)) is not None}
    skipped = len(records)
    if skipped:
        observe(Progress("stage", f"{skipped} of {len(set(keys))} cells are finished already"))
    missing = [(cell, key) for key, cell in dict(zip(keys, cells, strict=True)).items() if key not in records]
    # The longest first, so that no worker is left alone with one at the end.
    missing.sort(key=lambda pair: pair[0].kind != "baselines")
    for record in _computed(missing, folder, data, jobs, keep, observe):
        records[record.key] = record
    whole = Sweep(
        folder, scenario, tuple(axes), prepared.dataset.name, prepared.split.name, len(prepared.population),
        len(prepared.dataset.catalogue.ids), tuple(records[key] for key in keys), skipped, time.monotonic() - started,
    )  # fmt: skip
    write_tables(folder, whole.records)
    return whole


def begin(folder: Path, scenario: Scenario, axes: Sequence[Axis], prepared: Prepared, data: str, code: str) -> bool:
    """Write sweep.json, or check that the one that is there speaks of the same data.

    Returns:
        Whether it was written by other code.

    Raises:
        ScenarioError: the folder holds something else, or a sweep of other data.
    """
    path = folder / SWEEP
    if folder.exists() and not path.exists() and any(folder.iterdir()):
        raise ScenarioError(f"{folder} holds something that is no sweep: choose another folder with --out")
    changed = False
    if path.exists():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
            earlier, changed = there["data"], there["code"] != code
        except (ValueError, KeyError, TypeError):
            raise ScenarioError(f"{path} is damaged: move {folder} away, or choose another --out") from None
        if earlier != data:
            raise ScenarioError(
                f"{prepared.dataset.name} is no longer what {folder} was begun with (data {earlier}, now {data}): "
                "bring the old file back, or choose another --out; nothing was changed"
            )
    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    told = {
        "data": data,
        "dataset": prepared.dataset.name,
        "code": code,
        "grid": {axis.key: list(axis.values) for axis in axes},
        "scenario": scenario.to_toml(),
    }
    write_whole(path, json.dumps(told, indent=1) + "\n")
    return changed


def _check_cells(cells: Sequence[Cell], prepared: Prepared) -> None:
    """Commit every point's schedule once: what cannot be is refused before anything runs."""
    seen: set[tuple[tuple[str, Any], ...]] = set()
    for cell in cells:
        if cell.kind == "run" and cell.point not in seen:
            seen.add(cell.point)
            try:
                commit(cell.scenario, prepared if cell.devices is None else subsample(prepared, cell.devices, 0))
            except (BackrowError, ValueError) as problem:
                raise ScenarioError(f"{cell.name}: {problem}") from None


def _finished(folder: Path, key: str) -> Record | None:
    record = Record.read(folder / CELLS / f"{key}.json")
    return record if record is not None and record.key == key and record.error is None else None


def _computed(
    missing: Sequence[tuple[Cell, str]], folder: Path, data: str, jobs: int, keep: bool, observe: Observer
) -> "list[Record]":
    started, records = time.monotonic(), []
    tasks = [Task(compute, (cell, key, data, folder / RUNS / key if keep else None)) for cell, key in missing]
    for done, (index, answer) in enumerate(run_tasks(tasks, jobs, folder / LOG), start=1):
        cell, key = missing[index]
        record = blank(cell, key).model_copy(update={"error": answer.reason}) if isinstance(answer, Failure) else answer
        record.write(folder / CELLS)
        records.append(record)
        left = (time.monotonic() - started) / done * (len(missing) - done)
        said = f"failed: {record.error}" if record.error else _figures(record)
        observe(Progress("stage", f"{done}/{len(missing)} {cell.name}: {said}; {duration(left)} left"))
    return records


def _figures(record: Record) -> str:
    best = record.rows[0]
    return f"HR@10 {best.hr_at_10:.4f} ({best.protocol}) in {duration(record.seconds)}"
