"""The sum is exact whoever vanishes when, or the round is void with a reason. Never anything else."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backrow.privacy.errors import UnsafeCohortError, VoidRoundError
from backrow.privacy.secagg.masks import HALF
from backrow.privacy.secagg.parameters import Tolerance, neighbourhood
from backrow.privacy.secagg.session import SecurePolicy
from tests.secure_sums import Run, answers_of, identities, run_of, session_of

STAYS = 6
LAX = SecurePolicy(minimum=3, adversaries=0.0)
ANY_TIME = st.integers(1, STAYS)


def outcome(run: Run) -> set[str] | None:
    """Who is in the exact sum, or None if the round was void with a reason."""
    try:
        result = run.finish()
    except VoidRoundError:
        return None
    finally:
        # A device leaves a round that could not hide it; nothing else is wrong in an honest one.
        assert {type(problem) for problem in run.refused.values()} <= {UnsafeCohortError}
    np.testing.assert_array_equal(result.values, run.expected(result.survivors))
    assert run.secure.problems == []
    return set(result.survivors)


def gave_a_vector(run: Run) -> set[str]:
    return {name for name in run.keys if run.dropped.get(name, STAYS) > 3 and name in run.replies[3]}


@pytest.mark.parametrize("devices", [4, 5])
def test_every_combination_of_every_device_at_every_step(devices: int) -> None:
    # Complete graph, no adversaries tolerated: threshold 2 of 3 and 3 of 4.
    keys, tolerance = identities(devices), Tolerance(0.0, 0.05)
    threshold = {n: neighbourhood(n, tolerance).threshold for n in (4, devices)}
    session = session_of(keys, tolerance=tolerance, dimension=1)
    answers, seen = answers_of(session, list(keys)), Counter[bool]()
    for times in product((1, 2, 3, 4, 5, STAYS), repeat=devices):
        if Counter(times)[STAYS] < devices - 2:
            continue
        run = Run(keys, session, answers, dict(zip(keys, times, strict=True)), policy=LAX)
        survivors = outcome(run)
        here = [sum(time > step for time in times) for step in (1, 2, 3, 4, 5)]
        seen[survivors is not None] += 1
        # Whoever answers has a seed, and its shares are with the others.
        enough = here[0] >= 4 and here[2] >= 3 and here[4] - 1 >= threshold[here[0]]
        assert survivors == (gave_a_vector(run) if enough else None), times
    assert min(seen.values()) > 10


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_TIME, min_size=12, max_size=12), st.integers(0, 3), st.booleans(), st.integers(1, 4))
def test_random_dropouts_in_a_small_cohort(times: list[int], seed: int, saved: bool, edges: int) -> None:
    run = run_of(12, seed=seed, saved=saved, edges=edges, tolerance=Tolerance(0.0, 0.3), policy=LAX)
    run.dropped = dict(zip(run.keys, times, strict=True))
    survivors = outcome(run)
    if survivors is not None:
        assert survivors == gave_a_vector(run)


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_dropouts_within_the_tolerance_never_void_a_round(data: st.DataObject) -> None:
    devices = data.draw(st.sampled_from([20, 40]))
    run = run_of(devices, tolerance=Tolerance(0.05, 0.1), saved=data.draw(st.booleans()), edges=3, seed=1)
    gone = data.draw(st.lists(st.sampled_from(list(run.keys)), unique=True, max_size=devices // 10))
    run.dropped = {name: data.draw(st.sampled_from([3, 4, 5])) for name in gone}
    assert outcome(run) == gave_a_vector(run)


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_neighbours_may_sit_behind_different_edges_and_a_group_of_devices_may_vanish(data: st.DataObject) -> None:
    run = run_of(36, tolerance=Tolerance(0.0, 0.1), policy=LAX, edges=6)
    group = data.draw(st.integers(0, 11))
    run.dropped = {name: data.draw(st.sampled_from([2, 3, 4, 5])) for name in sorted(run.keys)[group::12]}
    assert outcome(run) == gave_a_vector(run)


@given(st.lists(st.lists(st.integers(-HALF, HALF - 1), min_size=3, max_size=3), min_size=5, max_size=5))
@settings(max_examples=20, deadline=None)
def test_the_sum_is_exact_modulo_two_to_the_thirty_second(rows: list[list[int]]) -> None:
    keys = identities(5)
    session = session_of(keys, dimension=3, tolerance=Tolerance(0.0, 0.05))
    answers = {name: np.array(row, dtype=np.int64) for name, row in zip(keys, rows, strict=True)}
    result = Run(keys, session, answers, policy=LAX).finish()
    exact = [sum(column) for column in zip(*rows, strict=True)]
    assert result.values.tolist() == [(number + HALF) % 2**32 - HALF for number in exact]


@pytest.mark.parametrize("bound", [HALF - 1, -HALF])
def test_sums_at_the_bounds_of_the_ring_are_exact_and_one_more_wraps(bound: int) -> None:
    keys = identities(5)
    session = session_of(keys, dimension=1, tolerance=Tolerance(0.0, 0.05))
    sign = 1 if bound > 0 else -1
    parts = dict(zip(keys, [bound, 0, 0, 0, 0], strict=True))
    for extra, expected in ((0, bound), (sign, -bound - 1)):
        answers = {name: np.array([part]) for name, part in parts.items()}
        answers[list(keys)[1]] = np.array([extra])
        assert Run(keys, session, answers, policy=LAX).finish().values.tolist() == [expected]
