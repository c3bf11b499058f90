"""Noise in shares: how large they are, and that their sum costs what is accounted. Exact arithmetic, small scale."""

import math
from collections import defaultdict
from decimal import Context, Decimal, localcontext

import pytest

from backrow.privacy import discrete_gaussian
from backrow.privacy.accounting.calibration import noise_multipliers
from backrow.privacy.accounting.gaussian import delta as exact_delta
from backrow.privacy.discrete_gaussian import LARGEST_SHARE, DiscreteGaussian
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.mechanisms import IntegerGaussian, claim_inflation
from backrow.privacy.quantise import Rounding, integer_sensitivity
from backrow.privacy.shares import (
    ENOUGH_CLIP_NORM,
    MOST_SHARES,
    RING,
    ROUNDING_SCALE,
    convolution_error,
    honest,
    largest_sum,
    law_error,
    rounding_error,
    secure_scale,
    share_scale,
)

Law = dict[int, Decimal]
DIGITS = Context(prec=90)
PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651"
)


def bell(scale: Decimal, distance: Decimal) -> Decimal:
    return (-(distance**2) / (2 * scale**2)).exp()


def discrete(variance: Decimal) -> Law:
    reach = math.ceil(40 * variance.sqrt())
    masses = {x: bell(variance.sqrt(), Decimal(x)) for x in range(-reach, reach + 1)}
    total = sum(masses.values())
    return {x: mass / total for x, mass in masses.items()}


def convolved(first: Law, second: Law) -> Law:
    law: dict[int, Decimal] = defaultdict(Decimal)
    for x, p in first.items():
        for y, q in second.items():
            law[x + y] += p * q
    return dict(law)


def distance(first: Law, second: Law, reach: int) -> float:
    """Largest |ln(p / q)| of the values up to reach."""
    return float(max(abs((first[z] / second[z]).ln()) for z in range(reach + 1)))


@pytest.mark.parametrize("scale", ["0.5", "0.7", "1", "2"])
def test_a_sum_of_shares_is_one_draw_up_to_the_stated_error(scale: str) -> None:
    with localcontext(DIGITS):
        one = discrete(Decimal(scale) ** 2)
        law = one
        for shares in range(2, 6):
            law = convolved(law, one)
            variance = shares * Decimal(scale) ** 2
            found = distance(law, discrete(variance), math.ceil(8 * variance.sqrt()))
            assert 0 < found <= convolution_error(float(scale), shares)
            if shares == 2:
                # Control: a bound six times smaller would be wrong.
                assert found > convolution_error(float(scale), 2) / 6


def rounded(variance: Decimal, eta: Decimal, reach: int) -> Law:
    """Law of a continuous Gaussian rounded at random to a discrete one about it: trapezoids, exact to 1e-60."""
    step = min(variance.sqrt(), eta) / 12
    sd = variance.sqrt()
    law: Law = dict.fromkeys(range(reach + 1), Decimal(0))
    near = math.ceil(20 * eta) + 1
    for number in range(-math.ceil(20 * sd / step), math.ceil(20 * sd / step) + 1):
        place = number * step
        centre = round(place)
        total = sum(bell(eta, k - place) for k in range(centre - near, centre + near + 1))
        weight = bell(sd, place) * step / (sd * (2 * PI).sqrt()) / total
        for k in law:
            law[k] += weight * bell(eta, k - place)
    return law


@pytest.mark.parametrize(("variance", "eta"), [("0.02", "0.5"), ("0.05", "1"), ("1", "1"), ("4", "2")])
def test_a_discrete_gaussian_is_a_rounded_one_up_to_the_stated_error(variance: str, eta: str) -> None:
    with localcontext(DIGITS):
        v, e = Decimal(variance), Decimal(eta)
        found = distance(discrete(v + e**2), rounded(v, e, 12), 12)
        assert 0 < found <= rounding_error(float(eta))
        if v < 1:  # Control: where little is continuous, a bound eight times smaller would be wrong.
            assert found > rounding_error(float(eta)) / 8


def test_the_error_of_any_sum_is_within_what_every_claim_includes() -> None:
    # law_error falls with the scale and grows with the number: the corner is the worst.
    corner = law_error(2.0, MOST_SHARES)
    assert all(law_error(s, n) <= corner for s in (2.0, 3.0, 81.0, 2.0**14) for n in (1, 2, 943, 10**6, MOST_SHARES))
    assert corner < IntegerGaussian(2.0).relative_error
    assert MOST_SHARES * DiscreteGaussian(2.0).tail_mass < IntegerGaussian(2.0).tail_mass
    # Control: smaller shares would not be.
    assert convolution_error(1.5, 2) + rounding_error(1.5) > IntegerGaussian(2.0).relative_error


def test_the_numbers_of_the_derivation() -> None:
    # docs/noise-shares.md, "Numbers".
    kappa = law_error(2.0, 943)
    assert kappa == pytest.approx(5.01e-17, rel=1e-3)
    assert rounding_error(2.0) == pytest.approx(2.6e-34, rel=0.02)
    assert 2 * 1e8 * kappa == pytest.approx(1.0e-8, rel=0.01)
    assert claim_inflation(10**8, 3.0, 1e-5)[0] == pytest.approx(1.4e-6, rel=0.02)


def test_the_example_of_the_derivation() -> None:
    counts, *_, training = noise_multipliers(3.0, 1e-5, [0.1] + [0.9 / 12] * 12)
    sure, everybody = honest(849, 0.05), honest(943, 0.05)
    for multiplier, dimension, noise, sigma, carried, filled in (
        (counts, 5_778, 36_032.4, 1_268.4, 37_967, 0.011),
        (training, 58_944, 41_610.9, 1_464.8, 43_845, 0.013),
    ):
        scale = secure_scale(1.0, dimension, multiplier, 943, 849, 0.05)
        claimed = multiplier * integer_sensitivity(1.0, dimension, scale, Rounding.DEVICE_STOCHASTIC)
        share = share_scale(claimed, sure)
        assert (scale, sure, everybody) == (8192, 807, 896)
        assert (claimed, share) == pytest.approx((noise, sigma), abs=0.05)
        assert share * math.sqrt(everybody) == pytest.approx(carried, abs=0.5)
        assert largest_sum(1.0, scale, share, 943) / RING == pytest.approx(filled, abs=0.0005)


@pytest.mark.parametrize(
    ("survivors", "omitted", "expected"),
    [
        (943, 0.0, 943),
        (943, 0.05, 896),
        (10, 0.7, 3),
        (10, 0.3, 7),
        (100, 0.29, 71),
        (1, 0.99, 1),
        (3, 0.5, 2),
        (0, 0.1, 0),
    ],
)
def test_the_omitted_are_counted_generously_and_exactly(survivors: int, omitted: float, expected: int) -> None:
    assert honest(survivors, omitted) == expected


@pytest.mark.parametrize(("survivors", "omitted"), [(-1, 0.0), (5, 1.0), (5, -0.1), (5, math.nan)])
def test_what_is_no_number_of_honest_survivors_is_refused(survivors: int, omitted: float) -> None:
    with pytest.raises(ValueError, match="cannot have omitted"):
        honest(survivors, omitted)


@pytest.mark.parametrize("noise_scale", [5.0, 1234.5, 9e4])
@pytest.mark.parametrize("shares", [1, 3, 943, 10**6])
def test_the_shares_carry_the_noise_and_their_rounding_and_hardly_more(noise_scale: float, shares: int) -> None:
    with localcontext(DIGITS):
        carried = shares * Decimal(share_scale(noise_scale, shares)) ** 2 - Decimal(ROUNDING_SCALE) ** 2
        assert 1 <= carried / Decimal(noise_scale) ** 2 < 1 + Decimal("1e-10")


def test_no_noise_needs_no_shares() -> None:
    assert share_scale(0.0, 5) == 0.0


def sampled(scale: float) -> Law:
    """The sampler's law itself, from its table."""
    rows = discrete_gaussian._table(scale).thresholds
    edges = [0, *(int.from_bytes(row.tobytes(), "little") for row in rows), 2**255]
    law: Law = {}
    for size in range(len(edges) - 1):
        mass = Decimal(edges[size + 1] - edges[size]) / 2**255
        law[size] = law[-size] = mass if size == 0 else mass / 2
    return law


def hockey_stick(law: Law, shift: int, epsilon: float) -> float:
    """delta of releasing an integer with this noise, for two inputs that differ by `shift`."""
    factor = Decimal(epsilon).exp()
    return float(
        sum(max(mass - factor * law.get(value - shift, Decimal(0)), Decimal(0)) for value, mass in law.items())
    )


@pytest.mark.parametrize(("shift", "multiplier", "shares"), [(3, 2.0, 4), (2, 1.0, 1), (8, 1.0, 3), (5, 4.0, 5)])
def test_a_sum_of_shares_is_as_private_as_what_is_accounted(shift: int, multiplier: float, shares: int) -> None:
    with localcontext(DIGITS):
        one = sampled(share_scale(multiplier * shift, shares))
        law = one
        for _ in range(shares - 1):
            law = convolved(law, one)
        with_rounding = math.hypot(multiplier * shift, ROUNDING_SCALE)
        for epsilon in (0.0, 0.1, 0.5, 1.0, 2.0, 4.0):
            accounted = exact_delta(epsilon, 1 / multiplier)
            extra_epsilon, extra_delta = claim_inflation(1, epsilon, accounted)
            assert hockey_stick(law, shift, epsilon + extra_epsilon) <= accounted + extra_delta
            # Control: accounted as if they carried a tenth more noise than they do, it must fail.
            assert hockey_stick(law, shift, epsilon) > exact_delta(epsilon, shift / (1.1 * with_rounding))


def test_one_share_less_than_claimed_would_be_noticed() -> None:
    # Control of the test above, in the way that it would go wrong.
    with localcontext(DIGITS):
        one = sampled(share_scale(6.0, 4))
        law = convolved(convolved(one, one), one)
        assert hockey_stick(law, 3, 1.0) > exact_delta(1.0, 1 / 2.0)


@pytest.mark.parametrize("population", [2, 10, 100, 943, 10_000, 100_000])
@pytest.mark.parametrize("multiplier", [0.0, 1.0, 5.0, 13.0])
@pytest.mark.parametrize(("clip_norm", "dimension"), [(1.0, 1_682), (0.05, 237_184)])
def test_a_secure_scale_fits_and_costs_little(
    population: int, multiplier: float, clip_norm: float, dimension: int
) -> None:
    minimum, omitted = max(1, population * 4 // 5), 0.1
    scale = secure_scale(clip_norm, dimension, multiplier, population, minimum, omitted)
    norm = integer_sensitivity(clip_norm, dimension, scale, Rounding.DEVICE_STOCHASTIC)
    share = share_scale(multiplier * norm, honest(minimum, omitted))
    assert math.frexp(scale)[0] == 0.5
    assert norm <= 1.05 * scale * clip_norm
    assert share == 0 or 2 <= share <= LARGEST_SHARE
    assert largest_sum(clip_norm, scale, share, population) < RING
    if population >= 100:
        assert scale * clip_norm >= 1900


def test_a_secure_scale_is_the_largest_that_fits() -> None:
    scale = secure_scale(1.0, 1000, 5.0, 1_000_000, 800_000)
    norm = integer_sensitivity(1.0, 1000, 2 * scale, Rounding.DEVICE_STOCHASTIC)
    assert scale < ENOUGH_CLIP_NORM
    assert largest_sum(1.0, 2 * scale, share_scale(5.0 * norm, 800_000), 1_000_000) >= RING


@pytest.mark.parametrize("arguments", [(1.0, 237_184, 5.0, 10**7, 10**7), (1.0, 237_184, 60.0, 1000, 2)])
def test_what_fits_no_scale_is_refused_with_advice(arguments: tuple[float, int, float, int, int]) -> None:
    with pytest.raises(UnsafePlanError, match=r'raise the smallest cohort, divide the population.*"trusted"'):
        secure_scale(*arguments)


def test_no_sum_of_honest_devices_is_larger_than_stated() -> None:
    reach = DiscreteGaussian(3.0).reach
    assert largest_sum(1.0, 8.0, 3.0, 5) == 5 * (8 + 1 + reach)
    assert largest_sum(1.0, 8.0, 0.0, 5) == 5 * (8 + 1)
