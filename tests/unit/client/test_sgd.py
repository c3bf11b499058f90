"""Local epochs: the steps a device takes, what it draws, and what leaves it."""

from dataclasses import replace

import numpy as np
import pytest

from backrow.client.answers import answer_block, answer_device
from backrow.client.solve import user_factors
from backrow.client.training.sgd import Epochs, device_seeds, epoch_draws, local_epochs
from backrow.privacy.errors import NonFiniteUpdateError, RefusedCallError
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import SeededRandom
from tests import builders

TITLES, COLUMNS = 40, 5
STEPS = Epochs(learning_rate=0.05, batch=4, negatives=3, epochs=2)
NUMBERS = {"sgd_learning_rate": 0.05, "sgd_batch": 4.0, "sgd_negatives": 3.0, "sgd_epochs": 2.0}
FACTORS = np.random.default_rng(1).normal(size=(TITLES, COLUMNS)) * 0.3
WATCHED = np.array([0, 3, 4, 9, 17, 20, 31, 33, 39], dtype=np.int32)
WEIGHTS = np.linspace(0.5, 2.0, len(WATCHED))


def by_hand(seed: int, user: np.ndarray) -> np.ndarray:
    """The public factors less those after plain loops over a dense table."""
    table, order = FACTORS.copy(), np.arange(len(WATCHED))
    for epoch in range(STEPS.epochs):
        places, negatives = epoch_draws(order, epoch, TITLES, seed, STEPS)
        for first in range(0, len(places), STEPS.batch):
            row_steps, user_step = np.zeros_like(table), np.zeros_like(user)
            for place, others in zip(places[first : first + STEPS.batch], negatives[first:], strict=False):
                examples = [(WATCHED[place], 1.0, WEIGHTS[place]), *((title, 0.0, 1.0) for title in others)]
                for title, goal, weight in examples:
                    error = weight * (table[title] @ user - goal)
                    row_steps[title] += error * user
                    user_step += error * table[title]
            table -= STEPS.learning_rate * row_steps
            user -= STEPS.learning_rate * user_step
    return FACTORS - table


def test_a_device_takes_the_steps_of_plain_loops_over_a_dense_table() -> None:
    start = np.random.default_rng(2).normal(size=COLUMNS)
    user, expected_user = start.copy(), start.copy()
    ids, change = local_epochs(FACTORS, WATCHED, WEIGHTS, 7, user, STEPS)
    dense = np.zeros_like(FACTORS)
    dense[ids] = change
    assert dense == pytest.approx(by_hand(7, expected_user), rel=1e-12, abs=1e-15)
    assert user == pytest.approx(expected_user, rel=1e-12)


def test_an_epoch_passes_every_watched_title_once_and_draws_negatives_from_the_whole_catalogue() -> None:
    order = np.arange(len(WATCHED))
    seen: set[int] = set()
    for epoch in range(40):
        places, negatives = epoch_draws(order, epoch, TITLES, 3, STEPS)
        assert sorted(places.tolist()) == list(range(len(WATCHED)))
        assert negatives.shape == (len(WATCHED), STEPS.negatives)
        seen |= set(negatives.ravel().tolist())
    assert seen == set(range(TITLES))  # no title is spared, so that no held-out one stands out


def test_seeds_of_devices_depend_on_their_slots_alone() -> None:
    many = device_seeds(SeededRandom(1, "seeds"), np.arange(1000))
    assert len(set(many.tolist())) == 1000
    assert device_seeds(SeededRandom(1, "seeds"), [17, 900]).tolist() == many[[17, 900]].tolist()
    assert not set(device_seeds(SeededRandom(2, "seeds"), np.arange(1000)).tolist()) & set(many.tolist())


def test_what_leaves_is_clipped_and_starts_from_factors_solved_on_the_device() -> None:
    call = builders.gradient_call(TITLES, COLUMNS, clip_norm=0.05, scale=2.0**30)
    call = replace(call, trainer="sgd", tensors={"factors": FACTORS}, settings={**call.settings, **NUMBERS})
    history = builders.histories(2, TITLES)[1]
    user = user_factors(FACTORS, history.titles, history.weights, 0.4, 0.1)
    seed = np.array([9], dtype=np.uint64)
    _, change = local_epochs(FACTORS, history.titles, history.weights, 9, user, STEPS)
    sent = answer_block(call, [history], SeededRandom(0), seed) / call.plan.scale
    assert np.linalg.norm(change) > 0.05  # so that clipping is seen
    assert np.linalg.norm(sent) == pytest.approx(0.05, rel=1e-6)
    touched = np.flatnonzero(sent.any(axis=1))
    assert sent[touched] == pytest.approx(change * 0.05 / np.linalg.norm(change), abs=1e-7)


def test_a_device_that_stands_alone_draws_from_its_own_randomness() -> None:
    call = builders.gradient_call(TITLES, COLUMNS, rounding=Rounding.DEVICE_STOCHASTIC)
    call = replace(call, trainer="sgd", tensors={"factors": FACTORS}, settings={**call.settings, **NUMBERS})
    history = builders.histories(2, TITLES)[1]
    one, again, other = (answer_device(call, history, SeededRandom(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_device_that_has_watched_nothing_sends_zero() -> None:
    call = builders.gradient_call(TITLES, COLUMNS)
    call = replace(call, trainer="sgd", settings={**call.settings, **NUMBERS})
    assert not answer_block(call, builders.histories(1, TITLES), SeededRandom(0)).any()


def test_training_that_diverges_is_not_sent() -> None:
    wild = replace(STEPS, learning_rate=1e3, epochs=60)
    with pytest.raises(NonFiniteUpdateError):
        local_epochs(FACTORS, WATCHED, WEIGHTS, 1, np.ones(COLUMNS), wild)


def test_a_call_for_endless_training_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        Epochs.of({**NUMBERS, "sgd_epochs": 2000.0})


@pytest.mark.parametrize("name", ["sgd_learning_rate", "sgd_batch", "sgd_negatives", "sgd_epochs"])
def test_numbers_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="local training"):
        Epochs.of({**NUMBERS, name: 0.0})
    with pytest.raises(KeyError):
        Epochs.of({key: value for key, value in NUMBERS.items() if key != name})


def test_trainer_sgd_answers_gradient_queries_only() -> None:
    call = builders.gradient_call(TITLES, COLUMNS)
    query = replace(call.plan.query, query=type(call.plan.query.query).SUBSPACE)
    with pytest.raises(RefusedCallError, match="sgd"):
        answer_block(
            replace(call, trainer="sgd", plan=replace(call.plan, query=query)),
            builders.histories(2, TITLES),
            SeededRandom(0),
        )
