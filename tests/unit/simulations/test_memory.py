"""Too little memory is said before a run starts, with what to change."""

from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.errors import ScenarioError
from backrow.simulations.memory import Run, available_bytes, foresee, needs_of
from tests.builders import plan

RUN = Run([plan()], 1_000_000, 10**8, 2, 2, ray=False, workers=2, whole=True, in_memory=False)


def total(run: Run) -> int:
    return sum(need.bytes for need in needs_of(run))


def test_a_million_devices_fit_into_four_gigabytes_and_not_into_a_quarter_of_one() -> None:
    foresee(RUN, 4 << 30)
    foresee(replace(RUN, ray=True), 4 << 30)
    with pytest.raises(
        ScenarioError, match=r"needs about 0\.5 GB of memory and 0\.3 GB are free: .* choose fewer nodes"
    ):
        foresee(RUN, 1 << 28)


def test_what_is_computed_device_by_device_needs_more_and_says_what_would_help() -> None:
    alone = replace(RUN, whole=False)
    assert total(alone) > 2 * total(RUN)
    with pytest.raises(ScenarioError, match="choose a trainer that answers for whole cohorts"):
        foresee(alone, 2 << 30)


@pytest.mark.parametrize("change", [{"devices": 10**7}, {"ray": True}, {"in_memory": True}, {"workers": 64}])
def test_more_of_anything_is_not_less_memory(change: dict[str, int]) -> None:
    assert total(replace(RUN, **change)) > total(RUN)


def test_where_nobody_says_what_is_free_nothing_is_refused(tmp_path: Path) -> None:
    assert available_bytes(tmp_path, tmp_path) is None
    foresee(replace(RUN, devices=10**12), None)


def test_a_container_s_limit_counts_where_it_is_lower_and_cached_files_do_not(tmp_path: Path) -> None:
    proc, group = tmp_path / "proc", tmp_path / "group"
    proc.mkdir()
    group.mkdir()
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert available_bytes(proc, group) == 8000 * 1024
    for name, text in (
        ("memory.max", "1000000\n"),
        ("memory.current", "700000\n"),
        ("memory.stat", "anon 1\nfile 500000\n"),
    ):
        (group / name).write_text(text)
    assert available_bytes(proc, group) == 800_000
    (group / "memory.max").write_text("max\n")
    assert available_bytes(proc, group) == 8000 * 1024
