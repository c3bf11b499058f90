"""How large each device's share of the noise is, so that the fewest honest survivors carry the claim.

Derivation of every bound: docs/noise-shares.md.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from backrow.privacy.discrete_gaussian import LARGEST_SHARE, SMALLEST_SHARE, DiscreteGaussian
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.quantise import Int64Array, QuantisedUpdate, Rounding, integer_sensitivity
from backrow.privacy.randomness import RandomSource

RING = 2**31
"""Sums modulo 2^32 stay below this in size: a sum that wraps around cannot be told from one that does not."""

ROUNDING_SCALE = 2.0
"""Parameter eta of the randomised rounding by which a discrete Gaussian is made of a continuous one; the shares
carry this much more variance (eta^2) than the claim needs."""

MOST_SHARES = RING
"""Shares of a sum whose error is within what every claim includes (`mechanisms.claim_inflation`)."""

ENOUGH_CLIP_NORM = 2**13
"""Clip norm in integers from which rounding adds less than .1 % to the sensitivity (237,000 coordinates)."""
MOST_INFLATION = 1.05
"""Integer sensitivity over scaled clip norm, at most: beyond it rounding would need much of the noise."""


@dataclass(frozen=True, slots=True)
class NoisedUpdate:
    """One device's answer with its share of the noise; made by `add_share` only. values: int64, as the answer's."""

    values: Int64Array


def add_share(update: QuantisedUpdate, share: DiscreteGaussian, random: RandomSource) -> NoisedUpdate:
    """Add a device's share of the noise, one draw a coordinate. Runs on the device."""
    values = update.values
    return NoisedUpdate(values + share.sample(random, values.size).reshape(values.shape))


def honest(survivors: int, omitted: float) -> int:
    """How many of the devices in a sum are sure to have added their share.

    Args:
        survivors: devices in the sum, >= 0.
        omitted: fraction of them, at most, that leave their share out or let others know it, in [0, 1); taken as
            the decimal that it is written as.

    Raises:
        ValueError: an argument is out of range.
    """
    if survivors < 0 or not 0 <= omitted < 1:
        raise ValueError(f"of {survivors} survivors a fraction of {omitted} cannot have omitted their shares")
    return survivors - math.floor(Fraction(str(omitted)) * survivors)


def share_scale(integer_noise_scale: float, shares: int) -> float:
    """Parameter s of each of `shares` discrete Gaussians whose sum carries this much noise.

    Args:
        integer_noise_scale: standard deviation of the Gaussian mechanism that is claimed, in integers; 0 for none.
        shares: that are sure to be in the sum, >= 1.

    Guarantees: shares s^2 - eta^2 >= integer_noise_scale^2.
    """
    if integer_noise_scale == 0:
        return 0.0
    return math.hypot(integer_noise_scale, ROUNDING_SCALE) / math.sqrt(shares) * (1 + 2.0**-40)


def law_error(scale: float, shares: int) -> float:
    """How far the sum of `shares` sampled shares is from post-processing of the exact Gaussian mechanism.

    Args:
        scale: parameter s of each, 2 .. 2^14.
        shares: how many, 1 .. `MOST_SHARES`.

    Returns:
        Bound kappa on |ln(probability / probability)| of one coordinate, uniform over what the sampler reaches.

    Guarantees: at most `IntegerGaussian.relative_error`, so that `mechanisms.claim_inflation` covers it.
    """
    sampled = shares * DiscreteGaussian(scale).relative_error
    return convolution_error(scale, shares) + rounding_error(ROUNDING_SCALE) + sampled


def convolution_error(scale: float, shares: int) -> float:
    """Bound on |ln(P(sum of N_Z(0, s^2) = z) / P(N_Z(0, n s^2) = z))| for every z.

    7 (e^-a + e^-(4a/3) + n e^-(3a/2)) with a = pi^2 s^2.

    Args:
        scale: parameter s of each, >= 1/2.
        shares: how many, n.
    Source: after Kairouz, Liu, Steinke 2021, "The distributed discrete Gaussian mechanism", sec. 3.
    """
    if shares == 1:
        return 0.0
    a = (math.pi * scale) ** 2
    return 7 * (math.exp(-a) + math.exp(-4 * a / 3) + shares * math.exp(-3 * a / 2))


def rounding_error(eta: float) -> float:
    """Bound on |ln(P(N_Z(0, S^2) = z) / P(rounded N(0, S^2 - eta^2) = z))| for every z and S > eta.

    5 e^(-2 pi^2 eta^2); rounded at random, to a discrete Gaussian of parameter eta about the value.

    Args:
        eta: parameter of the rounding, >= 1/2.
    """
    return 5 * math.exp(-2 * (math.pi * eta) ** 2)


def largest_sum(clip_norm: float, scale: float, share: float, devices: int) -> float:
    """Largest size of a coordinate of the sum of that many answers and shares of noise, in integers.

    Args:
        clip_norm: L2 bound of one answer.
        scale: integers per unit.
        share: parameter of each device's noise; 0 for none.
        devices: in the sum, at most.
    """
    return devices * (scale * clip_norm + 1 + DiscreteGaussian(share).reach)


def secure_scale(
    clip_norm: float,
    dimension: int,
    noise_multiplier: float,
    population: int,
    minimum: int,
    omitted: float = 0.0,
    rounding: Rounding = Rounding.DEVICE_STOCHASTIC,
) -> float:
    """Integers per unit for a secure sum with noise in shares. Runs on the coordinator, before the schedule.

    The smallest power of two with `clip_norm * scale >= ENOUGH_CLIP_NORM`, halved until the sum of everybody fits
    the ring and the share its sampler. A larger scale would make the sum no better, and the shares dearer to draw.

    Args:
        clip_norm, dimension: of the query.
        noise_multiplier: standard deviation / sensitivity; 0 for none.
        population: devices in the sum, at most.
        minimum: devices in the sum, at least.
        omitted: as for `honest`.
        rounding: a device rounding.

    Raises:
        UnsafePlanError: no scale fits, or only one at which rounding adds more than 5 % to the sensitivity.
        ValueError: an argument is out of range.
    """
    least = honest(minimum, omitted)
    scale = 2.0 ** math.ceil(math.log2(ENOUGH_CLIP_NORM / clip_norm))
    while True:
        sensitivity = integer_sensitivity(clip_norm, dimension, scale, rounding)
        share = share_scale(noise_multiplier * sensitivity, least)
        if sensitivity > MOST_INFLATION * clip_norm * scale or (share and share < SMALLEST_SHARE):
            raise UnsafePlanError(
                f"no scale lets the answers of {population:,} devices with noise in shares of {least:,} fit 32 bits at "
                f"noise multiplier {noise_multiplier:.3g}: raise the smallest cohort, divide the population into "
                'several runs, or use aggregation = "trusted"'
            )
        if share <= LARGEST_SHARE and largest_sum(clip_norm, scale, share, population) < RING:
            return scale
        scale /= 2
