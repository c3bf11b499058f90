"""The main job by secure sum: every device a party to the protocol, and not a bit of the releases changed by it."""

import json
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.verification import verify_files
from backrow.simulations.pipeline import commit, prepare
from backrow.simulations.runner import run
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import Trained, coordinator_key, train
from tests.unit.simulations.small_data import two_tastes

ONE_RELEASE = {"recent_share": 0.0, "evaluation_share": 0.0}
"""Of popularity, where nothing is trained."""


def scenario(
    aggregation: str, *, trainer: str = "subspace", model: dict[str, float] | None = None, **cohort: float
) -> Scenario:
    return Scenario.model_validate(
        {
            "seed": 5,
            "trainer": trainer,
            "data": {"name": "ml-100k"},
            "privacy": {"aggregation": aggregation, "noise": "shares"},
            "model": model or {},
            "cohort": cohort,
        }
    )


def trained(made: Scenario, folder: Path, *, engine: str = "inprocess", nodes: int = 2) -> tuple[Trained, list[str]]:
    """The run, and digests of the released integer sums."""
    folder.mkdir()
    prepared = prepare(made)
    committed = commit(made, prepared)
    done = train(
        committed, prepared.population, folder, engine=engine, nodes=nodes, seed=made.seed,
        observe=lambda report: None, publish=lambda outcome, spent: (bytes(32), bytes(32)),
    )  # fmt: skip
    entries = verify_files(read_files(folder), coordinator_key(made.seed).public).entries
    return done, [entry.body.values.hex() for entry in entries if isinstance(entry.body, ReleaseEntry)]


@pytest.mark.parametrize(
    ("trainer", "model", "releases"),
    [("prior", ONE_RELEASE, 1), pytest.param("subspace", {}, 4, marks=pytest.mark.long)],
    ids=["popularity", "everything"],
)
def test_all_943_devices_of_movielens_release_by_secure_sum_what_trusted_edges_release(
    data_dir: Path, tmp_path: Path, trainer: str, model: dict[str, float], releases: int
) -> None:
    secure, masked = trained(scenario("secure", trainer=trainer, model=model), tmp_path / "secure")
    _, plain = trained(scenario("trusted", trainer=trainer, model=model), tmp_path / "trusted", nodes=3)
    assert len(masked) == releases
    assert masked == plain
    assert secure.problems == ()
    assert [report.masked for report in secure.outcome.reports] == [943] * releases


@pytest.mark.ray
def test_flower_on_ray_masks_as_one_process_does(data_dir: Path, tmp_path: Path) -> None:
    made = scenario("secure", trainer="prior", model=ONE_RELEASE, withheld=0.9)
    one, alone = trained(made, tmp_path / "alone", nodes=1)
    four, spread = trained(made, tmp_path / "spread", engine="flower", nodes=4)
    assert alone == spread
    assert [report.masked for report in one.outcome.reports] == [report.masked for report in four.outcome.reports]


def views_of(folder: Path) -> Path:
    dataset = two_tastes(60, 24)
    rows = [
        f"{dataset.viewers[user]},{dataset.catalogue.ids[title]},{at}"
        for user, title, at in zip(
            dataset.interactions.user, dataset.interactions.title, dataset.interactions.timestamp, strict=True
        )
    ]
    path = folder / "views.csv"
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return path


def small(folder: Path, **sections: object) -> Scenario:
    return Scenario.model_validate(
        {"seed": 3, "trainer": "gradient", "data": {"path": str(views_of(folder))}, "model": {"rounds": 1}, **sections}
    )


def test_a_small_run_masks_by_default_and_says_so(tmp_path: Path) -> None:
    results = run(small(tmp_path), tmp_path / "run", baselines=False)
    assert (results.aggregation, results.noise, results.masked_messages) == ("secure", "shares", 4 * 60)
    kept = json.loads((tmp_path / "run" / "results.json").read_text())
    assert kept["masked_messages"] == 240
    page = (tmp_path / "run" / "report.html").read_text()
    assert "240 masked answers" in page
    report = verify(tmp_path / "run")
    assert report.passed, report.findings


def test_devices_that_vanish_within_the_tolerance_cost_nothing_but_themselves(tmp_path: Path) -> None:
    made = small(tmp_path, cohort={"dropouts": 0.1}, privacy={"dropouts": 0.25})
    results = run(made, tmp_path / "run", baselines=False)
    assert 3 * 60 < results.masked_messages < 4 * 60
    assert not any("void" in warning for warning in results.warnings)
    assert verify(tmp_path / "run").passed


def test_the_noise_in_the_sum_is_what_the_ledger_claims(tmp_path: Path) -> None:
    """4 releases of 4,096 sentinels each: the ratio lies within 1 +- .03 but for one time in ten million."""
    run(small(tmp_path), tmp_path / "run", baselines=False)
    entries = verify_files(read_files(tmp_path / "run"), coordinator_key(3).public).entries
    releases = [entry.body for entry in entries if isinstance(entry.body, ReleaseEntry)]
    ratios = [
        np.array(release.sentinels) / release.plan.integer_noise_scale_at(release.crowd.survived)
        for release in releases
    ]
    honest = np.concatenate(ratios) * np.sqrt(57 / 60)  # three of sixty are assumed to leave their share out; none does
    assert abs(np.sqrt(np.mean(honest**2)) - 1) < 0.03


def test_a_cohort_too_small_to_hide_anybody_is_refused_before_anything_is_reserved(tmp_path: Path) -> None:
    rows = [f"u{viewer},t{title},{title}" for viewer in range(2) for title in range(6)]
    path = tmp_path / "two.csv"
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    made = Scenario.model_validate({"data": {"path": str(path)}, "trainer": "prior"})
    with pytest.raises(Exception, match="hides nobody"):
        run(made, tmp_path / "run", baselines=False)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.unfinished").exists()


def test_opacus_and_masks_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="whole blocks"):
        scenario("secure", trainer="opacus")
