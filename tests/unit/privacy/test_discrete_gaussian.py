"""The discrete Gaussian: its exact probabilities, its stream, and what is refused."""

import itertools
import math
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest

from backrow.privacy import discrete_gaussian
from backrow.privacy.discrete_gaussian import DiscreteGaussian
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.randomness import OsRandom, SeededRandom

WHOLE = 2**255
DIGITS = Context(prec=130)


def thresholds(sd: float) -> list[int]:
    """2^255 P(|X| < k) of the sampler for k = 0 .. reach + 1."""
    rows = discrete_gaussian._table(sd).thresholds
    return [0, *(int.from_bytes(row.tobytes(), "little") for row in rows), WHOLE]


def spread(sd: float, sampled_sd: float) -> float:
    """Largest difference of ln(sampled / exact) between two values: they are proportional, one factor is free."""
    edges = thresholds(sampled_sd)
    reach = len(edges) - 2
    values = sorted({*range(min(reach, 200)), *range(0, reach, max(1, reach // 200)), reach - 1, reach})
    with localcontext(DIGITS):
        logs = [
            Decimal((edges[value + 1] - edges[value]) * (2 if value == 0 else 1)).ln()
            + Decimal(value) ** 2 / (2 * Decimal(sd) ** 2)
            for value in values
        ]
        return float(max(logs) - min(logs))


@pytest.mark.parametrize("sd", [2.0, 2.01, 3.0, 41.7, 81.3, 1234.5, 2.0**14])
def test_every_probability_is_the_discrete_gaussians_up_to_the_stated_error(sd: float) -> None:
    assert 0 < spread(sd, sd) < DiscreteGaussian(sd).relative_error


def test_a_standard_deviation_off_by_one_in_a_billion_would_be_noticed() -> None:
    # Control of the test above.
    assert spread(81.3 * (1 + 1e-9), 81.3) > DiscreteGaussian(81.3).relative_error


@pytest.mark.parametrize("sd", [2.0, 81.3, 2.0**14])
def test_every_value_within_reach_can_be_drawn_and_nothing_else(sd: float) -> None:
    edges = thresholds(sd)
    assert len(edges) == DiscreteGaussian(sd).reach + 2
    assert all(low < high for low, high in itertools.pairwise(edges))


def test_what_is_never_drawn_is_as_unlikely_as_stated() -> None:
    sd = 2.3
    reach = DiscreteGaussian(sd).reach
    masses = [math.exp(-(x * x) / (2 * sd * sd)) for x in range(40 * reach)]
    beyond = math.fsum(masses[reach + 1 :]) / (math.fsum(masses) - 0.5)
    assert 0 < beyond < DiscreteGaussian(sd).tail_mass < 1e-43


class Words:
    """A source that gives these words and counts what was read."""

    simulated = True

    def __init__(self, *words: int) -> None:
        self.words, self.place = words, 0

    def bytes(self, n: int) -> bytes:
        return self.uint64(n // 8).tobytes()

    def uint64(self, n: int) -> np.ndarray:
        self.place += n
        assert self.place <= len(self.words)
        return np.array(self.words[self.place - n : self.place], dtype=np.uint64)


def drawn(sd: float, uniform: int, negative: bool = False) -> int:
    """What 255 uniform bits and a sign are drawn as, and that it is the right number of words that are read."""
    words = [uniform >> 192 << 1 | negative, *(uniform >> 64 * place & (2**64 - 1) for place in (2, 1, 0))]
    tie = uniform >> 192 in discrete_gaussian._table(sd).high.tolist()
    source = Words(*words) if tie else Words(words[0])
    value = int(DiscreteGaussian(sd).sample(source, 1)[0])
    assert source.place == (4 if tie else 1)
    return value


@pytest.mark.parametrize("sd", [2.0, 81.3, 2.0**14])
@pytest.mark.parametrize("negative", [False, True])
def test_a_draw_is_the_number_of_thresholds_that_its_bits_reach(sd: float, negative: bool) -> None:
    edges = thresholds(sd)
    reach = len(edges) - 2
    sign = -1 if negative else 1
    for k in {1, 2, 3, round(sd), round(3 * sd), reach - 1, reach}:
        assert drawn(sd, edges[k], negative) == sign * k
        assert drawn(sd, edges[k] - 1, negative) == sign * (k - 1)
        between = (edges[k] + edges[k + 1]) // 2
        assert drawn(sd, between, negative) == sign * k
    assert drawn(sd, 0, negative) == 0
    assert drawn(sd, WHOLE - 1, negative) == sign * reach


def test_the_quick_look_up_and_all_bits_decide_alike() -> None:
    words = SeededRandom(3).uint64(40_000)
    for sd in (2.0, 81.3, 2.0**14):
        table = discrete_gaussian._table(sd)
        values, tied = table.look_up(words)
        assert tied == len(words)
        slow = [table.decide(np.array([word, 0, 0, 0], dtype=np.uint64)) for word in words[:2000]]
        assert values[:2000].tolist() == slow


def test_draws_after_a_tie_go_on_behind_its_words() -> None:
    sd = 3.0
    plain = SeededRandom(4).uint64(9).tolist()
    tie = thresholds(sd)[5]
    tied = [tie >> 192 << 1, *(tie >> 64 * place & (2**64 - 1) for place in (2, 1, 0))]
    lower = [tied[0], *tied[1:3], tied[3] - 1]
    alone = [int(DiscreteGaussian(sd).sample(Words(word), 1)[0]) for word in plain]
    stream = [*plain[:4], *tied, *lower, *plain[4:], *tied]
    expected = [*alone[:4], 5, 4, *alone[4:], 5]
    assert DiscreteGaussian(sd).sample(Words(*stream), 12).tolist() == expected
    for first in range(13):
        source = Words(*stream)
        parts = [DiscreteGaussian(sd).sample(source, size).tolist() for size in (first, 12 - first)]
        assert [*parts[0], *parts[1]] == expected
        assert source.place == len(stream)


@pytest.mark.parametrize("sd", [2.0, 81.0, 5000.0])
def test_two_portions_are_the_same_draws_as_one(sd: float) -> None:
    noise = DiscreteGaussian(sd)
    source = SeededRandom(2)
    parts = np.concatenate([noise.sample(source, size) for size in (1, 0, 999, 40_000)])
    np.testing.assert_array_equal(parts, noise.sample(SeededRandom(2), 41_000))


def test_the_internal_portion_does_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = DiscreteGaussian(81.0).sample(SeededRandom(2), 3000)
    monkeypatch.setattr(discrete_gaussian, "_CHUNK", 7)
    np.testing.assert_array_equal(whole, DiscreteGaussian(81.0).sample(SeededRandom(2), 3000))


def test_draws_are_frozen() -> None:
    # Runs with the same seed must give the same releases in every version.
    assert DiscreteGaussian(2.0).sample(SeededRandom(1, "noise"), 9).tolist() == [0, -1, 0, 0, 1, 4, 0, 5, -1]
    assert DiscreteGaussian(81.0).sample(SeededRandom(1, "noise"), 9).tolist() == [
        9,
        -26,
        -10,
        -5,
        57,
        173,
        -10,
        189,
        -41,
    ]
    assert DiscreteGaussian(5000.0).sample(SeededRandom(1, "noise"), 9).tolist() == [
        547,
        -1628,
        -647,
        -286,
        3522,
        10709,
        -596,
        11661,
        -2524,
    ]


def test_draws_are_whole_numbers_and_differ_from_source_to_source() -> None:
    first, second = (DiscreteGaussian(1e3).sample(OsRandom(), 100) for _ in range(2))
    assert first.dtype == np.int64
    assert first.shape == (100,)
    assert not np.array_equal(first, second)


def test_no_noise_is_zero_and_reads_nothing() -> None:
    source = SeededRandom(1)
    assert not DiscreteGaussian(0.0).sample(source, 50).any()
    assert source.bytes(8) == SeededRandom(1).bytes(8)
    assert DiscreteGaussian(0.0).reach == 0


@pytest.mark.parametrize(
    ("sd", "advice"), [(1.999, "raise"), (1e-300, "raise"), (-3.0, "raise"), (16384.1, "lower"), (math.inf, "lower")]
)
def test_shares_that_cannot_be_sampled_well_are_refused(sd: float, advice: str) -> None:
    with pytest.raises(UnsafePlanError, match=f"{advice} the scale"):
        DiscreteGaussian(sd)


def test_a_share_that_is_no_number_is_refused() -> None:
    with pytest.raises(UnsafePlanError, match="the scale"):
        DiscreteGaussian(math.nan)


def test_a_negative_number_of_draws_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        DiscreteGaussian(3.0).sample(SeededRandom(1), -1)
