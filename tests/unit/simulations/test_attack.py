"""Attacks on small data: what canaries send, what excluded devices send, what the command says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from backrow.client.history import RawHistory
from backrow.privacy.clipping import OuterBlock
from backrow.privacy.errors import ScenarioError
from backrow.privacy.plan import RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Metric, Query, evaluation_schema
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire import RoundCall
from backrow.server.settings import with_sentinels
from backrow.simulations.attack import attack
from backrow.simulations.attack_scores import Evidence
from backrow.simulations.attack_targets import OVERSIZE, CraftedCanaries, Hosted, Viewers, hosted_devices
from backrow.simulations.cli_attack import attack as command
from backrow.simulations.pipeline import Prepared, commit, people
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split
from tests.builders import histories, plan
from tests.unit.simulations.small_data import two_tastes


def crafted(made: RoundPlan, canaries: CraftedCanaries) -> OuterBlock:
    return canaries.answers(RoundCall(made, "", 1, (), {}, {}), SeededRandom(1))


def small(**changes: object) -> tuple[Scenario, Prepared]:
    dataset = two_tastes(80, 40)
    scenario = Scenario.model_validate(
        {"seed": 1, "trainer": "subspace", "data": {"name": "small", "split": "last"},
         "privacy": {"epsilon": 2.0, "delta": 1e-3}, **changes}
    )  # fmt: skip
    split = make_split(dataset, "last")
    return scenario, Prepared(dataset, split, people(scenario, dataset, split.train, split.test))


def test_every_canary_sends_one_coordinate_of_its_own_clipped_to_the_bound() -> None:
    made = plan(Query.GRADIENT, 50, 4, clip_norm=2.0)
    block = crafted(made, CraftedCanaries.toss(7, 30, 50))
    dense = np.array([block.device(index).values for index in range(30)])
    assert np.all(np.count_nonzero(dense, axis=(1, 2)) == 1)
    assert np.allclose(dense.sum(axis=(1, 2)), 2.0)
    assert np.all(dense.sum(axis=(1, 2)) <= 2.0)  # they ask for OVERSIZE times as much
    assert len(set(np.argmax(dense.any(axis=2), axis=1))) == 30
    with pytest.raises(ValueError, match="use clip"):
        OuterBlock(block.left, block.right * OVERSIZE, 2.0)


@pytest.mark.parametrize("rounding", Rounding)
def test_only_included_canaries_add_to_the_sum(rounding: Rounding) -> None:
    made = plan(rows=50, rounding=rounding)
    canaries = CraftedCanaries.toss(7, 30, 50)
    block = crafted(made, canaries)
    total = canaries.crafted(made, block)
    assert total is not None
    assert set(np.flatnonzero(total[:, 0])) == set(canaries.rows[canaries.included])
    assert not np.any(canaries.silent(block, total))
    assert 0 < canaries.included.sum() < 30


def test_canaries_say_nothing_where_there_is_no_coordinate_for_each() -> None:
    made = replace(plan(), query=with_sentinels(evaluation_schema(), 60))
    canaries = CraftedCanaries.toss(7, 30, 50)
    block = crafted(made, canaries)
    total = canaries.crafted(made, block)
    assert total is not None
    assert total.shape == (65, 1)
    assert not np.any(total)
    assert len(canaries.silent(block, np.ones_like(total))) == 0


def test_an_attack_on_viewers_recomputes_what_they_answer_to_the_evaluation() -> None:
    scenario, prepared = small(model={"evaluation_share": 0.5})
    committed, hosted = commit(scenario, prepared), hosted_devices(prepared.population)
    viewers = Viewers.choose(3, 8, hosted)
    made = committed.schedule.rounds[-1]
    program = committed.program.absorb(Query.POPULARITY, None)
    question = program.ask(Query.EVAL)
    block = viewers.answers(RoundCall(made, "", 1, (), question.tensors, question.settings), SeededRandom(1))
    assert np.all(block.left[:, 0] == 1)  # everybody in this split has a title held out
    assert not np.any(block.left[:, len(Metric) :])


def test_coins_and_coordinates_depend_on_the_seed_only() -> None:
    one, same, other = (CraftedCanaries.toss(seed, 40, 60) for seed in (1, 1, 2))
    assert np.array_equal(one.rows, same.rows)
    assert np.array_equal(one.included, same.included)
    assert not np.array_equal(one.included, other.included)


def test_an_excluded_viewer_takes_part_and_answers_nothing() -> None:
    hosted = Hosted(range(20), histories(20, 30))
    viewers = Viewers.choose(3, 8, hosted)
    left = viewers.devices(hosted, viewers.included)
    assert len(left.histories) == 20
    for position, included in zip(viewers.positions, viewers.included, strict=True):
        assert (len(left.histories[position]) > 0) == included
    untouched = set(range(20)) - set(viewers.positions)
    assert all(left.histories[position] is hosted.histories[position] for position in untouched)


def test_scores_of_canaries_that_do_not_overlap_are_ordered_as_their_likelihoods() -> None:
    random = np.random.default_rng(5)
    block = OuterBlock(np.eye(12), np.ones((12, 1)), 1.0)
    residuals = [(random.normal(size=(12, 1)), scale) for scale in (0.5, 2.0)]
    evidence = Evidence.empty(12)
    for residual, scale in residuals:
        evidence = evidence.add(block, residual, scale)
    ratio = sum(residual[:, 0] / scale**2 for residual, scale in residuals)
    assert np.array_equal(np.argsort(evidence.scores()), np.argsort(ratio))


def test_overlapping_answers_are_told_apart() -> None:
    # Two answers nearly alike, one included: the matched filter cannot say which, the linear model can.
    block = OuterBlock(np.array([[1.0, 0.0], [0.9, 0.4]]) / 1.1, np.ones((2, 1)), 1.0)
    for coin in (0, 1):
        scores = Evidence.empty(2).add(block, block.device(coin).values, 0.01).scores()
        assert scores[coin] > 0.4
        assert scores[1 - coin] < -0.4


def test_a_run_without_privacy_claims_nothing_and_shows_everything() -> None:
    scenario, prepared = small(privacy={"epsilon": "none", "delta": 1e-3})
    report = attack(scenario, prepared, canaries=40)
    assert report.claim.epsilon is None
    assert report.largest_auc is None
    assert report.canaries.silent_p is None
    assert report.canaries.auc.value == 1.0
    assert report.findings == ()
    sums = next(one for one in report.membership if one.sees == "released sums")
    assert sums.auc.value > 0.95


def test_a_report_is_json_with_every_figure_and_the_number_of_canaries() -> None:
    scenario, prepared = small()
    figures = json.loads(attack(scenario, prepared, canaries=40, noise_factor=0.0).to_json())
    assert figures["canaries"]["audit"]["canaries"] == 40
    assert figures["claim"]["delta"] == 1e-3
    assert len(figures["membership"]) == 3
    assert any("smaller than claimed" in sentence for sentence in figures["findings"])


@pytest.mark.parametrize(
    ("canaries", "noise_factor", "words"),
    [(4, 1.0, "at least 16"), (41, 1.0, "at most 40"), (40, 1.5, "share"), (40, -0.1, "share"), (40, np.nan, "share")],
)
def test_attacks_that_cannot_be_are_refused(canaries: int, noise_factor: float, words: str) -> None:
    scenario, prepared = small()
    with pytest.raises(ScenarioError, match=words):
        attack(scenario, prepared, canaries=canaries, noise_factor=noise_factor)


def test_too_few_viewers_are_refused() -> None:
    empty = RawHistory(np.zeros(0, np.int32), np.zeros(0))
    with pytest.raises(ScenarioError, match="too few"):
        Viewers.choose(1, 8, Hosted(range(20), [empty] * 15 + histories(5, 10)))


@pytest.fixture
def scenario_file(tmp_path: Path) -> Path:
    dataset = two_tastes(80, 40)
    rows = zip(dataset.interactions.user, dataset.interactions.title, dataset.interactions.timestamp, strict=True)
    lines = ["user,item,timestamp", *(f"{user},{title},{at}" for user, title, at in rows)]
    (tmp_path / "views.csv").write_text("\n".join(lines), encoding="utf-8")
    text = f'trainer = "subspace"\n[data]\npath = "{tmp_path / "views.csv"}"\n[privacy]\nepsilon = 2.0\ndelta = 1e-3\n'
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    return tmp_path / "run.toml"


def test_the_command_says_what_was_attacked_and_exits_with_one_if_the_claim_is_refuted(scenario_file: Path) -> None:
    app = typer.Typer()
    app.command()(command)
    honest = CliRunner().invoke(app, [str(scenario_file), "--canaries", "40"])
    assert honest.exit_code == 0, honest.output
    for words in ("delta 0.001", "unit device", "zero-out", "4 releases", "40 canaries", "nothing refutes the claim"):
        assert words in " ".join(honest.output.split())
    faulty = CliRunner().invoke(app, [str(scenario_file), "--canaries", "40", "--noise-factor", "0", "--json"])
    assert faulty.exit_code == 1
    assert "smaller than claimed" in faulty.output
