"""Second opinion: privacy loss distributions by Google's dp-accounting, convolved numerically."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import reduce

from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from dp_accounting.privacy_accountant import NeighboringRelation

_CELLS_PER_MU = 30
"""Grid cells per root-mean-square mu of a release: pessimistic by about 1e-4 of epsilon."""


def pld_epsilon(noise_multipliers: Sequence[float], delta: float, interval: float | None = None) -> float:
    """Epsilon of Gaussian releases together, an upper bound up to the grid.

    Every distinct release is discretised by itself and convolved as often as it occurs. (dp-accounting's
    `PLDAccountant` would merge equal Gaussians by the very formula that this is to check.)

    Args:
        noise_multipliers: standard deviation / sensitivity of every release, > 0.
        delta: in (0, 1).
        interval: of the grid of losses; None: fine enough for these releases.
    """
    if not noise_multipliers:
        return 0.0
    if interval is None:
        interval = math.sqrt(math.fsum(z**-2 for z in noise_multipliers) / len(noise_multipliers)) / _CELLS_PER_MU
    cut = min(1e-15, delta * 1e-6)
    together: list[PrivacyLossDistribution] = []
    for multiplier, count in sorted(Counter(noise_multipliers).items()):
        one = privacy_loss_distribution.from_gaussian_mechanism(
            multiplier,
            value_discretization_interval=interval,
            log_mass_truncation_bound=math.log(cut) - 10,
            neighboring_relation=NeighboringRelation.REPLACE_SPECIAL,  # zero-out
        )
        while count:  # by squaring: quicker than `self_compose`, which bounds the tails anew by many moments
            if count & 1:
                together.append(one)
            count >>= 1
            if count:
                one = one.compose(one, tail_mass_truncation=cut)
    whole = reduce(lambda before, one: before.compose(one, tail_mass_truncation=cut), together)
    return float(whole.get_epsilon_for_delta(delta))
