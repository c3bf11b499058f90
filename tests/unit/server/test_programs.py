"""Programs: pure post-processing of releases, from public metadata to item factors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.bundle import open_bundle
from backrow.privacy.queries import Metric, Query
from backrow.privacy.signing import SigningKey
from backrow.privacy.units import Adjacency, PrivacyClaim, PrivacyUnit
from backrow.server.programs.base import Answer
from backrow.server.programs.gradient import CLIP_NORM, GradientProgram
from backrow.server.programs.model import ModelProgram
from backrow.server.programs.prior import floored, metadata_factors, popular_direction, starting_factors, with_room
from backrow.server.programs.subspace import SubspaceProgram
from backrow.server.receipts import Receipt
from backrow.server.registry import write_bundle
from backrow.server.round import Release
from backrow.server.settings import RunSettings
from tests.builders import plan

KEY = SigningKey(bytes(range(32)))
RNG = np.random.default_rng(5)
FEATURES = (RNG.random((30, 6)) < 0.4).astype(float)
COUNTS = Answer(np.sort(RNG.gamma(1, 20, (30, 1)))[::-1].copy(), 1.0, 1.0)


def settings(trainer: str = "gradient", rounds: int = 2) -> RunSettings:
    return RunSettings("run", trainer, 3.0, 1e-5, 30, 100, 10, rounds, 1.0)


def test_metadata_factors_span_the_centred_features() -> None:
    factors = metadata_factors(FEATURES)
    centred = FEATURES - FEATURES.mean(axis=0)
    np.testing.assert_allclose(factors @ factors.T, 0.09 * centred @ centred.T, atol=1e-12)


def test_a_catalogue_without_metadata_still_has_a_prior() -> None:
    factors = starting_factors(metadata_factors(np.zeros((30, 0))), floored(COUNTS.values[:, 0]))
    assert factors.shape == (30, 1)
    assert np.all(factors > 0)


def test_little_metadata_leaves_room_to_learn_in_and_much_is_left_alone() -> None:
    padded = with_room(metadata_factors(np.zeros((30, 0))))
    assert padded.shape == (30, 16)
    assert np.linalg.matrix_rank(padded) == 16
    np.testing.assert_array_equal(padded, with_room(metadata_factors(np.zeros((30, 0)))))
    wide = RNG.normal(size=(30, 20))
    np.testing.assert_array_equal(with_room(wide), wide)


def test_the_popular_direction_keeps_only_counts_that_stand_out_of_the_noise() -> None:
    values = np.array([[10.0], [1.9], [-5.0], [2.1]])
    direction = popular_direction(Answer(values, 1.0, 1.0))
    assert direction[1] == direction[2] == 0
    assert np.linalg.norm(direction) == pytest.approx(1)
    drowned = popular_direction(Answer(values, 100.0, 1.0))
    np.testing.assert_allclose(drowned, 0.5)


def test_subspace_iteration_recovers_the_strongest_directions_of_a_clean_sum() -> None:
    prior = starting_factors(metadata_factors(FEATURES), floored(COUNTS.values[:, 0]))
    program = SubspaceProgram.start(prior, popular_direction(COUNTS))
    off = np.eye(30) - program.direction @ program.direction.T
    target = off @ (RNG.normal(size=(30, 2)) * [9, 5]) @ RNG.normal(size=(2, 30)) @ off
    for _ in range(30):
        program = program.absorb(Answer(target @ target.T @ program.basis, 0.0, 0.0))
    left = np.linalg.svd(target)[0][:, :2]
    np.testing.assert_allclose(program.basis[:, :2] @ program.basis[:, :2].T @ left, left, atol=1e-9)


def test_directions_below_the_noise_edge_are_dropped_and_the_rest_is_shrunk() -> None:
    prior = starting_factors(metadata_factors(FEATURES), floored(COUNTS.values[:, 0]))
    program = SubspaceProgram.start(prior, popular_direction(COUNTS))
    noise = RNG.normal(size=prior.shape)
    assert program.absorb(Answer(noise, 1.0, 1.0)).item_factors().shape == prior.shape
    strong = 1000 * program.basis[:, :1] @ np.ones((1, prior.shape[1]))
    kept = program.absorb(Answer(strong + noise, 1.0, 1.0))
    assert kept.item_factors().shape == (30, prior.shape[1] + 1)
    assert 0.9 < kept.kept[0] < 1


def test_a_gradient_step_divides_by_the_public_population_and_never_by_who_answered() -> None:
    prior = np.ones((30, 4))
    program = GradientProgram.start(prior, 100, 1, 2.0, "gradient", {})
    step = program.absorb(Answer(np.full((30, 4), 6.0), 0.0, 0.0)).item_factors() - prior
    np.testing.assert_allclose(step, -2.0 * 6.0 / (100 * CLIP_NORM))


def test_the_model_is_the_mean_of_the_second_half_of_the_rounds() -> None:
    program = GradientProgram.start(np.zeros((30, 4)), 1, 4, 1.0, "gradient", {})
    seen = []
    for _ in range(4):
        program = program.absorb(Answer(np.full((30, 4), -CLIP_NORM), 0.0, 0.0))
        seen.append(program.factors[0, 0])
    assert seen == pytest.approx([1, 2.5, 4.25, 6.125])  # momentum .5
    assert program.item_factors()[0, 0] == pytest.approx((seen[2] + seen[3]) / 2)


def test_a_void_round_changes_nothing() -> None:
    program = GradientProgram.start(np.ones((30, 4)), 100, 4, 2.0, "gradient", {})
    np.testing.assert_array_equal(program.absorb(None).item_factors(), program.item_factors())
    model = ModelProgram.start(settings(), FEATURES).absorb(Query.POPULARITY, None)
    np.testing.assert_allclose(model.model().popularity, 1.0)


@pytest.mark.parametrize("trainer", ["subspace", "gradient", "opacus", "opacus-event"])
def test_the_committed_schema_is_the_one_asked_later(trainer: str) -> None:
    program = ModelProgram.start(settings(trainer), FEATURES)
    schema = program.training_schema()
    counted = program.absorb(Query.POPULARITY, COUNTS)
    assert counted.factors is not None
    assert counted.factors.schema() == schema
    question = counted.ask(Query.GRADIENT)
    assert all(tensor.shape[0] == 30 for tensor in question.tensors.values())


def test_the_prior_alone_asks_no_training_rounds_and_recent_counts_reach_the_model() -> None:
    program = ModelProgram.start(settings("prior", 0), FEATURES)
    assert program.training_schema() is None
    counted = program.absorb(Query.POPULARITY, COUNTS).absorb(Query.RECENT, Answer(COUNTS.values - 1, 1.0, 1.0))
    model = counted.model()
    assert model.recent is not None
    assert np.all(model.recent >= 0)
    assert model.item_factors.shape[0] == 30


@pytest.mark.parametrize("trainer", ["prior", "subspace", "gradient"])
def test_the_evaluation_asks_about_the_model_as_it_is_published(trainer: str, tmp_path: Path) -> None:
    program = ModelProgram.start(settings(trainer), FEATURES).absorb(Query.POPULARITY, COUNTS)
    question = program.ask(Query.EVAL)
    catalogue = [{"id": f"t{row}"} for row in range(30)]
    release = Release(plan(), COUNTS.values, 100, Receipt(1, "00", 0))
    claim = PrivacyClaim(None, 1e-5, PrivacyUnit.DEVICE, Adjacency.ZERO_OUT, 1, simulated=True)
    write_bundle(tmp_path / "bundle", program.model(), catalogue, [release], claim, KEY)
    published = open_bundle(tmp_path / "bundle", KEY.public).tensors
    np.testing.assert_array_equal(question.tensors["factors"], published["item_factors"])
    np.testing.assert_array_equal(question.tensors["popularity"][:, 0], published["popularity"])
    assert question.settings == {"alpha0": 0.4, "ridge": 0.1}
    assert program.public_tensors(Query.EVAL).keys() == question.tensors.keys()


def test_every_question_of_a_run_names_its_public_time() -> None:
    program = ModelProgram.start(replace(settings(), since=1_700_000_000), FEATURES)
    counted = program.absorb(Query.POPULARITY, COUNTS)
    for asked, query in [
        (program, Query.POPULARITY),
        *((counted, q) for q in (Query.RECENT, Query.GRADIENT, Query.EVAL)),
    ]:
        assert asked.ask(query).settings["since"] == 1_700_000_000
        assert "since" not in replace(asked, settings=settings()).ask(query).settings


def test_an_evaluation_changes_no_model_and_a_void_one_says_nothing() -> None:
    program = ModelProgram.start(settings(), FEATURES).absorb(Query.POPULARITY, COUNTS)
    assert program.metrics() is None
    assert program.absorb(Query.EVAL, None).metrics() is None
    evaluated = program.absorb(Query.EVAL, Answer(np.array([[50.0], [5], [2], [4], [1]]), 0.0, 0.0))
    metrics = evaluated.metrics()
    assert metrics is not None
    assert metrics.rates[Metric.HIT].value == 0.1
    assert metrics.per_device[Metric.HIT].value == 0.05
    np.testing.assert_array_equal(evaluated.model().item_factors, program.model().item_factors)


def test_an_unknown_trainer_is_named() -> None:
    with pytest.raises(ValueError, match="unknown trainer 'magic'"):
        ModelProgram.start(settings("magic"), FEATURES).training_schema()
