"""sweep.parquet and summary.parquet. Ground truth of the simulator: nothing in them is ever released."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from backrow.simulations.results import Row
from backrow.simulations.study.cells import Record
from backrow.simulations.study.intervals import CONFIDENCE, mean_over_seeds

FIGURES = {"hr@10": "hr_at_10", "ndcg@10": "ndcg_at_10", "recall@20": "recall_at_20", "coverage@10": "coverage_at_10"}
TOLD = {b"backrow": b"ground truth of a simulator, never released; intervals: Student's t over seeds, 95 %"}


def summary_of(records: Sequence[Record], confidence: float = CONFIDENCE) -> list[dict[str, Any]]:
    """One row per point, model and protocol, in the records' order; failed cells have no part in it.

    Args:
        confidence: of the t-intervals over seeds.
    """
    groups: dict[tuple[Any, ...], list[tuple[Record, Row]]] = {}
    for record in records:
        for row in record.rows:
            where = (*record.point.items(), record.kind, record.devices, row.model, row.protocol)
            groups.setdefault(where, []).append((record, row))
    return [_line(members, confidence) for members in groups.values()]


def _line(members: Sequence[tuple[Record, Row]], confidence: float) -> dict[str, Any]:
    record, row = members[0]
    line: dict[str, Any] = {
        **record.point,
        "model": row.model,
        "trainer": row.trainer,
        "protocol": row.protocol,
        "epsilon": row.epsilon,
        "delta": row.delta,
        "unit": row.unit,
        "adjacency": row.adjacency,
        "releases": row.releases,
        "devices": record.devices,
        "seeds": len(members),
    }
    for name, field in FIGURES.items():
        mean = mean_over_seeds([getattr(each, field) for _, each in members], confidence)
        line |= {name: mean.value, f"{name} sd": mean.deviation, f"{name} low": mean.low, f"{name} high": mean.high}
    line["seconds"] = sum(each.seconds for _, each in members) / len(members)
    return line


def write_tables(folder: Path, records: Sequence[Record]) -> None:
    """sweep.parquet: a row per cell, model and protocol, failed cells with their error; summary.parquet: means."""
    lines: list[dict[str, Any]] = []
    for record in records:
        about = {**record.point, "cell": record.key, "seed": record.seed, "kind": record.kind, "error": record.error}
        rows = [row.model_dump(by_alias=True) for row in record.rows] or [{}]
        lines += [{**row, **about} for row in rows]
    _write(folder / "sweep.parquet", lines)
    _write(folder / "summary.parquet", summary_of(records))


def _write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for line in lines for name in line))
    columns = {name: _column([line.get(name) for line in lines]) for name in names}
    table = pa.table(columns).replace_schema_metadata(TOLD)
    whole = path.with_suffix(".part")
    pq.write_table(table, whole)
    whole.replace(path)


def _column(values: list[Any]) -> pa.Array:
    """Numbers where all are; text where a word is among them ("none")."""
    kinds = {type(value) for value in values if value is not None}
    if str in kinds and len(kinds) > 1:
        values = [None if value is None else str(value) for value in values]
    elif kinds == {int, float}:
        values = [None if value is None else float(value) for value in values]
    return pa.array(values)
