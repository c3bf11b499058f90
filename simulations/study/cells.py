"""What one cell is called, what is computed of it, and what is kept."""

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from backrow.client.model import PublicModel
from backrow.privacy.bundle import open_bundle
from backrow.privacy.errors import DataError
from backrow.simulations.evaluation import baseline_rows, evaluated_rows, model_scorer
from backrow.simulations.pipeline import Prepared, commit
from backrow.simulations.progress import ignore
from backrow.simulations.results import Row, write_whole
from backrow.simulations.runner import finish_model, run
from backrow.simulations.scenario import Scenario
from backrow.simulations.study.grid import Cell
from backrow.simulations.study.shared import data_digest, prepared_for, subsample
from backrow.simulations.training import coordinator_key


class Record(BaseModel):
    """One finished cell, as its file holds it.

    Attributes:
        key: names what was computed: scenario, data, code.
        point: key and value of every axis.
        seed: of the run.
        kind, devices: as `Cell`.
        rows: one per model and protocol; ground truth of the simulator, never released.
        seconds: wall time of all of it.
        error: why there are no rows; None if there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str
    point: dict[str, str | int | float | bool]
    seed: int
    kind: str
    devices: int | None = None
    rows: tuple[Row, ...] = ()
    seconds: float = 0.0
    error: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What a file holds; None where there is none, or it is no record of this version."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, folder: Path) -> None:
        """Write KEY.json; a reader sees all of it or nothing."""
        write_whole(folder / f"{self.key}.json", self.model_dump_json(by_alias=True, indent=1) + "\n")


def cell_key(cell: Cell, data: str, code: str) -> str:
    """Names what is computed: not where, by how many nodes, or from which file. 16 hexadecimal digits."""
    left_out: dict[str, Any] = {"engine": True, "nodes": True, "data": {"name", "path"}, "evaluation": {"baselines"}}
    left_out["cohort"] = {"whole", "workers"}
    if cell.kind == "baselines":
        left_out = {"data": {"name", "path"}, "privacy": True, "model": True, "engine": True, "nodes": True}
    said = {
        "kind": cell.kind,
        "devices": cell.devices,
        "scenario": cell.scenario.model_dump(mode="json", exclude=left_out),
        "data": data,
        "code": code,
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def blank(cell: Cell, key: str) -> Record:
    """A record of this cell without rows."""
    return Record(key=key, point=dict(cell.point), seed=cell.scenario.seed, kind=cell.kind, devices=cell.devices)


def compute(cell: Cell, key: str, data: str, keep: Path | None) -> Record:
    """Train and evaluate one cell. Runs in a worker.

    Args:
        key: of the cell.
        data: digest of the data that the sweep began with.
        keep: run folder to leave; None: none is left.

    Raises:
        DataError: the data is not, or no longer, what the sweep began with.
        BackrowError: as `runner.run`.
    """
    started = time.monotonic()
    prepared = prepared_for(cell.scenario)
    if data_digest(prepared.dataset, prepared.split, prepared.sample is not None) != data:
        raise DataError(f"{prepared.dataset.name} changed while the sweep ran: this cell was not computed")
    rows = _rows(cell, prepared, keep)
    return blank(cell, key).model_copy(update={"rows": rows, "seconds": round(time.monotonic() - started, 3)})


def _rows(cell: Cell, prepared: Prepared, keep: Path | None) -> tuple[Row, ...]:
    scenario = cell.scenario
    if cell.kind == "baselines":
        return tuple(baseline_rows(scenario, prepared, ignore))
    if cell.devices is None and keep is not None:
        return run(scenario, keep, baselines=False, prepared=prepared).rows
    with tempfile.TemporaryDirectory(prefix="backrow-cell-") as folder:
        if cell.devices is None:
            finished = finish_model(
                scenario, prepared, commit(scenario, prepared), Path(folder), ignore, model="backrow"
            )
            return tuple(finished.rows)
        return _of_fewer(scenario, prepared, cell.devices, Path(folder))


def _of_fewer(scenario: Scenario, prepared: Prepared, devices: int, folder: Path) -> tuple[Row, ...]:
    """Some train, and what they learned is asked of everybody: each on her own device, with her own history."""
    fewer = subsample(prepared, devices, scenario.seed)
    committed = commit(scenario, fewer)
    trained = finish_model(scenario, fewer, committed, folder, ignore, model="backrow").trained
    public = PublicModel.from_bundle(open_bundle(folder / "bundle", coordinator_key(scenario.seed).public))
    rows = evaluated_rows(
        scenario, prepared, model_scorer(public, prepared.population, prepared.sample),
        model="backrow", trainer=committed.settings.trainer, claim=trained.spent, target=scenario.privacy.epsilon,
        bytes_up=sum(report.bytes_up for report in trained.outcome.reports), seconds=trained.seconds,
    )  # fmt: skip
    return tuple(rows)
