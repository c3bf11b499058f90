"""From a budget to noise multipliers, and back. Standard library and numpy only."""

import math
from collections.abc import Sequence

from backrow.privacy.accounting.gaussian import check_delta, check_epsilon, compose, epsilon, mu_for
from backrow.privacy.mechanisms import claim_inflation

RESERVED_COORDINATES = 10_000_000
"""Coordinates of a whole run that a calibrated budget has room for: the sampler's error grows with them."""

_MARGIN = 1e-8
"""Share of epsilon left unspent, far above what float64 loses."""


def epsilon_of(noise_multipliers: Sequence[float], delta: float, coordinates: int = 0) -> float:
    """Epsilon of Gaussian releases together, in closed form.

    Args:
        noise_multipliers: standard deviation / sensitivity of every release, > 0.
        delta: in (0, 1).
        coordinates: released in all; the integer sampler's error over so many is added. 0 asks for
            the exact mechanism.

    Returns:
        Epsilon; 0 for no release; infinity if the sampler's error alone exceeds delta.

    Raises:
        ValueError: an argument is out of range.
    """
    if not all(0 < multiplier < math.inf for multiplier in noise_multipliers):
        raise ValueError("noise multipliers must be positive and finite: a release without noise has no epsilon")
    if coordinates < 0:
        raise ValueError(f"coordinates must be at least 0, got {coordinates}")
    mu = compose(1 / multiplier for multiplier in noise_multipliers)
    exact = epsilon(mu, delta)
    if coordinates == 0 or mu == 0:
        return exact
    # The extra delta depends on the epsilon that it raises: bound it at one more than the exact one.
    extra_epsilon, extra_delta = claim_inflation(coordinates, exact + 1, delta)
    if extra_delta >= delta:
        return math.inf
    raised = epsilon(mu, delta - extra_delta)
    return raised + extra_epsilon if raised <= exact + 1 else math.inf


def noise_multipliers(
    epsilon: float, delta: float, shares: Sequence[float], coordinates: int = RESERVED_COORDINATES
) -> tuple[float, ...]:
    """Noise multiplier of every release of a schedule that spends the budget exactly.

    Args:
        epsilon: the budget, > 0.
        delta: in (0, 1).
        shares: of the budget (mu squared), one per release, public, > 0, adding up to 1.
        coordinates: released in all, at most.

    Guarantees: `epsilon_of(result, delta, coordinates) <= epsilon`; for epsilon .2 .. 20, delta >= 1e-10
    and the default 10^7 coordinates also > epsilon (1 - 1e-6).

    Raises:
        ValueError: an argument is out of range, or epsilon is beyond what the integer sampler supports.
    """
    check_epsilon(epsilon)
    check_delta(delta)
    if not shares or min(shares) <= 0 or not math.isclose(math.fsum(shares), 1, rel_tol=1e-9):
        raise ValueError(f"shares of the budget must be positive and add up to 1, got {list(shares)}")
    extra_epsilon, extra_delta = claim_inflation(coordinates, epsilon + 1, delta)
    target, remaining = epsilon * (1 - _MARGIN) - extra_epsilon, delta - extra_delta
    if target <= 0 or remaining < delta / 2:
        raise ValueError(
            f"epsilon {epsilon} with delta {delta} over {coordinates} coordinates is outside what the integer sampler "
            "supports (about 1e-6 to 40): choose another epsilon, or leave it out for a run without privacy"
        )
    mu = mu_for(target, remaining)
    return tuple(1 / (mu * math.sqrt(share)) for share in shares)


def rounds_affordable(
    epsilon: float,
    delta: float,
    noise_multiplier: float,
    spent: Sequence[float] = (),
    coordinates: int = RESERVED_COORDINATES,
) -> int:
    """How many releases with this noise multiplier fit in the budget after those already spent.

    Args:
        epsilon: the budget, > 0.
        delta: in (0, 1).
        noise_multiplier: of every further release, > 0.
        spent: noise multipliers of the releases made.
        coordinates: released in all, at most.

    Raises:
        ValueError: an argument is out of range.
    """
    check_epsilon(epsilon)
    if epsilon_of([*spent, noise_multiplier], delta, coordinates) > epsilon:
        return 0
    before = math.fsum(1 / multiplier**2 for multiplier in spent)
    rounds = max(1, round((mu_for(epsilon, delta) ** 2 - before) * noise_multiplier**2) + 1)
    # The guess is at most two too many: the sampler's part and the rounding above.
    while rounds > 1 and epsilon_of([*spent, noise_multiplier / math.sqrt(rounds)], delta, coordinates) > epsilon:
        rounds -= 1
    return rounds
