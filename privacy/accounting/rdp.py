"""Third opinion: Renyi differential privacy by Google's dp-accounting. Valid, but never tight."""

from collections import Counter
from collections.abc import Sequence

from dp_accounting.dp_event import GaussianDpEvent
from dp_accounting.privacy_accountant import NeighboringRelation
from dp_accounting.rdp import RdpAccountant


def rdp_epsilon(noise_multipliers: Sequence[float], delta: float) -> float:
    """Epsilon of Gaussian releases together, an upper bound (3.25 where 3 is exact).

    Args:
        noise_multipliers: standard deviation / sensitivity of every release, > 0.
        delta: in (0, 1).
    """
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_SPECIAL)
    for multiplier, count in sorted(Counter(noise_multipliers).items()):
        accountant.compose(GaussianDpEvent(multiplier), count)
    return float(accountant.get_epsilon(delta))
