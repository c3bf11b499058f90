"""A generated population through the main job: owners come and go, nodes do not matter, the audit finds no fault."""

import json
from pathlib import Path

import pytest

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.model import State, Topic
from backrow.privacy.audit.verify import verify
from backrow.simulations.population import device_name
from backrow.simulations.results import Results
from backrow.simulations.runner import run
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import make_scenario
from backrow.simulations.training import LISTS

DEVICES, SAMPLE = 2_000, 300


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKROW_CACHE", str(tmp_path_factory.getbasetemp() / "generated"))


def scenario(nodes: int = 1, workers: int = 1, **sections: object) -> Scenario:
    return make_scenario(
        {
            "nodes": nodes,
            "trainer": "subspace",
            "data": {"name": "generated"},
            "generated": {"devices": DEVICES, "titles": 400, "events": 40, "factors": 16, "tastes": 8, "tail": 0.7},
            "privacy": {"epsilon": 8.0, "delta": 1e-5, "aggregation": "trusted", "noise": "once"},
            "model": {"rounds": 2, "evaluation_share": 0.0},
            "cohort": {"workers": workers},
            "evaluation": {"protocols": ["full"], "baselines": ["popularity"], "sample": SAMPLE},
            **sections,
        },
        "a test",
    )


def released(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "releases").iterdir()}


def test_owners_come_and_go_alike_on_one_node_and_on_three(tmp_path: Path) -> None:
    changing = {"consent": {"opt_outs": 0.05, "children": 0.02, "taste": -0.5, "flips": 0.05, "offline": 0.1}}
    made = [
        run(scenario(nodes, workers, **changing), tmp_path / str(nodes), baselines=False)
        for nodes, workers in ((1, 1), (3, 2))
    ]
    assert len(released(tmp_path / "1")) == 4
    assert released(tmp_path / "1") == released(tmp_path / "3")
    assert made[0].rows[0].hr_at_10 == made[1].rows[0].hr_at_10
    assert {group.group for group in made[0].groups} == {"everyone", "stayed", "left"}
    assert next(group for group in made[0].groups if group.group == "everyone").devices == SAMPLE
    lists = Lists.parse((tmp_path / "3" / LISTS).read_bytes())
    (opted_out,) = lists.opt_outs.values()
    assert 0.03 * DEVICES < len(opted_out) < 0.07 * DEVICES
    assert len({tuple(people) for people in lists.participants.values()}) == 4, "consents flip between rounds"
    report = verify(tmp_path / "3", key=bytes.fromhex((tmp_path / "3" / "coordinator.pub").read_text()), lists=lists)
    assert report.passed, report.findings
    assert {check.state for check in report.checks if check.topic is Topic.LISTS} == {State.PASSED}


def test_everybody_is_trained_on_and_a_sample_is_measured_and_both_are_said(tmp_path: Path) -> None:
    results = run(scenario(), tmp_path / "run")
    assert [row.model for row in results.rows] == ["backrow", "prior", "backrow, no privacy", "popularity"]
    assert results.devices == DEVICES
    said = f"a public random sample of {SAMPLE} of {DEVICES:,} devices"
    assert any(said in note for note in results.notes)
    assert said in (tmp_path / "run" / "report.html").read_text()
    assert Results.from_json((tmp_path / "run" / "results.json").read_text()) == results
    ours, popularity = results.rows[0], results.rows[-1]
    assert ours.hr_at_10 > popularity.hr_at_10
    written = json.loads((tmp_path / "run" / LISTS).read_text())["participants"]
    first, *others = sorted(written, key=int)
    assert written[first] == [device_name(slot) for slot in range(DEVICES)]
    assert [written[other] for other in others] == [int(first)] * 3, "equal lists are written once"
