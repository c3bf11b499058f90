"""The evaluation on a device: one bounded answer about one title that the model was not made from."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backrow.client.history import RawHistory
from backrow.client.solve import user_factors
from backrow.client.training.base import TrainingCall
from backrow.client.training.evaluation import EvaluationTrainer
from backrow.client.training.registry import trainer_for
from backrow.privacy.clipping import OuterBlock
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Metric, Query
from backrow.privacy.randomness import SeededRandom
from tests.builders import histories, plan

TITLES = 40
RANDOM = SeededRandom(0)
RNG = np.random.default_rng(3)
FACTORS = RNG.normal(size=(TITLES, 5))
POPULARITY = np.round(RNG.gamma(1, 4, (TITLES, 1)))  # with ties
BOUND = math.sqrt(len(Metric))


PLAN = plan(Query.EVAL, len(Metric), clip_norm=BOUND)


def answers(block: list[RawHistory], made: RoundPlan = PLAN, **changes: Any) -> OuterBlock:
    tensors = {"factors": FACTORS, "popularity": POPULARITY, **changes}
    call = TrainingCall(made, tensors, {"alpha0": 0.4, "ridge": 0.1})
    return EvaluationTrainer().answer(call, block, RANDOM)


def dense(block: list[RawHistory]) -> np.ndarray:
    made = answers(block)
    return np.array([made.device(index).values[:, 0] for index in range(len(block))])


def with_fresh(history: RawHistory, fresh: int | None, passed: list[int] | None = None) -> RawHistory:
    return RawHistory(history.titles, history.weights, history.recent, fresh, np.array(passed or [], np.int32))


def fresh_block() -> list[RawHistory]:
    """Every device with a fresh title that it does not know; the first has watched nothing."""
    unknown = [sorted(set(range(TITLES)) - set(history.titles)) for history in histories(30, TITLES)]
    pairs = zip(histories(30, TITLES), unknown, strict=True)
    return [with_fresh(history, int(RNG.choice(free))) for history, free in pairs]


def written_out(scores: np.ndarray, history: RawHistory) -> tuple[float, float]:
    """Hit and gain by the definition, title by title."""
    assert history.fresh is not None
    known = {*history.titles.tolist(), *history.passed.tolist(), history.fresh}
    rank = 0.0
    for title in set(range(TITLES)) - known:
        rank += 1.0 if scores[title] > scores[history.fresh] else 0.5 if scores[title] == scores[history.fresh] else 0
    return (1.0, 1 / math.log2(rank + 2)) if rank < 10 else (0.0, 0.0)


def test_each_number_is_what_its_name_says() -> None:
    block = fresh_block()
    for history, row in zip(block, dense(block), strict=True):
        own = FACTORS @ user_factors(FACTORS, history.titles, history.weights, 0.4, 0.1)
        scores = own if len(history) else POPULARITY[:, 0]
        expected = [1.0, *written_out(scores, history), *written_out(POPULARITY[:, 0], history)]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_every_number_is_in_0_to_1_and_the_bound_is_reached_but_never_passed() -> None:
    block = fresh_block()
    values = dense(block)
    assert np.all((values >= 0) & (values <= 1))
    assert np.all(np.linalg.norm(values, axis=1) <= BOUND)
    best = with_fresh(block[0], int(POPULARITY.argmax()))  # no history: both orders have it first
    np.testing.assert_allclose(dense([best])[0], np.ones(len(Metric)), rtol=1e-12)


def test_a_device_without_a_fresh_title_answers_zeros() -> None:
    assert not np.any(dense(histories(5, TITLES)))


def test_titles_that_the_owner_knows_are_not_ranked_above_the_fresh_one() -> None:
    nothing = RawHistory(np.zeros(0, np.int32), np.zeros(0))
    order = np.argsort(-POPULARITY[:, 0], kind="stable")
    twelfth = int(order[np.flatnonzero(POPULARITY[order, 0] < POPULARITY[order[10], 0])[0]])
    above = [int(row) for row in order if POPULARITY[row, 0] > POPULARITY[twelfth, 0]]
    assert dense([with_fresh(nothing, twelfth)])[0, 1] == 0
    assert dense([with_fresh(nothing, twelfth, sorted(above))])[0, 1] == pytest.approx(1)


def test_an_answer_does_not_depend_on_who_shares_the_block() -> None:
    block = fresh_block()
    np.testing.assert_array_equal(dense(block)[7], dense([block[7]])[0])


def test_sentinels_stay_untouched() -> None:
    with_sentinels = replace(PLAN, query=replace(PLAN.query, rows=len(Metric) + 4, sentinels=4))
    values = answers(fresh_block(), with_sentinels).left
    assert values.shape == (30, len(Metric) + 4)
    assert np.any(values[:, : len(Metric)])
    assert not np.any(values[:, len(Metric) :])


@pytest.mark.parametrize("query", [Query.POPULARITY, Query.RECENT, Query.GRADIENT, Query.SUBSPACE])
def test_no_other_query_reads_the_fresh_title(query: Query) -> None:
    basis, _ = np.linalg.qr(FACTORS)
    tensors = {"factors": FACTORS, "deflation": basis[:, :1], "basis": basis[:, 1:]}
    columns = {Query.GRADIENT: 5, Query.SUBSPACE: 4}.get(query, 1)
    name = query.value if columns > 1 else ""
    call = TrainingCall(plan(query, TITLES, columns), tensors, {"alpha0": 0.4, "ridge": 0.1})
    block = fresh_block()
    without = [with_fresh(history, None) for history in block]
    one, other = (trainer_for(query, name).answer(call, each, RANDOM) for each in (block, without))
    assert isinstance(one, OuterBlock)
    assert isinstance(other, OuterBlock)
    np.testing.assert_array_equal(one.total(), other.total())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"made": plan(Query.EVAL, len(Metric) + 1)}, "rows and one column"),
        ({"made": plan(Query.EVAL, len(Metric), 2)}, "rows and one column"),
        ({"popularity": POPULARITY[:-1]}, "same titles"),
        ({"popularity": POPULARITY[:, 0]}, "same titles"),
        ({"factors": FACTORS[:, 0]}, "same titles"),
        ({"factors": FACTORS[:5], "popularity": POPULARITY[:5]}, "not among"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        answers(fresh_block(), **changes)


def test_a_fresh_title_was_unknown_before() -> None:
    known = histories(2, TITLES)[1]
    for wrong in (int(known.titles[0]), -1):
        with pytest.raises(ValueError, match="nothing was known"):
            with_fresh(known, wrong)
    free = next(row for row in range(TITLES) if row not in known.titles)
    with pytest.raises(ValueError, match="nothing was known"):
        with_fresh(known, free, [free])
