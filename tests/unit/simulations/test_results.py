"""results.json: the keys that readers rely on, and files that are whole or not there."""

import json
import os
from pathlib import Path

import pytest

from backrow.privacy.errors import DataError
from backrow.simulations.results import Results, Row, write_whole

PRIVATE = {
    "model": "backrow",
    "trainer": "gradient",
    "protocol": "full",
    "epsilon": 3.0,
    "epsilon_spent": 2.9999,
    "delta": 1e-5,
    "unit": "device",
    "adjacency": "zero-out",
    "releases": 14,
    "bytes_up_per_device": 5_000_000,
    "hr@10": 0.087,
    "ndcg@10": 0.043,
    "recall@20": 0.14,
    "coverage@10": 0.2,
    "seconds": 9.5,
    "seed": 1,
}


def results(*rows: dict[str, object]) -> Results:
    return Results(
        engine="inprocess",
        nodes=1,
        aggregation="trusted",
        noise="once",
        dataset="ml-100k",
        split="last",
        devices=943,
        titles=1682,
        rows=tuple(Row.model_validate(row) for row in rows),
    )


def test_a_row_has_exactly_the_promised_keys_in_order() -> None:
    (row,) = json.loads(results(PRIVATE).to_json())["rows"]
    assert list(row) == list(PRIVATE)
    assert row == PRIVATE


def test_a_run_has_the_promised_keys() -> None:
    promised = {"engine", "nodes", "aggregation", "noise", "dataset", "split", "devices", "titles", "rows"}
    assert promised <= set(json.loads(results(PRIVATE).to_json()))


def test_no_epsilon_is_null() -> None:
    row = {**PRIVATE, "epsilon": None, "epsilon_spent": None, "delta": None, "unit": None, "adjacency": None}
    (written,) = json.loads(results(row).to_json())["rows"]
    assert written["epsilon"] is None
    assert written["unit"] is None


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    before = results(PRIVATE, {**PRIVATE, "protocol": "ncf", "hr@10": 0.6})
    before.write(tmp_path / "results.json")
    assert Results.from_json((tmp_path / "results.json").read_bytes()) == before
    assert before.under("ncf")[0].hr_at_10 == 0.6


@pytest.mark.parametrize(
    "change", [{"hr@10": 1.5}, {"hr@10": float("nan")}, {"seconds": float("inf")}, {"protocol": "sampled"}, {"more": 1}]
)
def test_a_row_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Row.model_validate({**PRIVATE, **change})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"engine": 3}', "\x00"])
def test_a_file_that_is_no_results_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(DataError, match=r"this is no results\.json of this version"):
        Results.from_json(text)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.json"
    write_whole(path, "old")

    def disk_full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
