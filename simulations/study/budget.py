"""Epsilon, delta, rounds and noise: three of them give the fourth.

Unit: the device. Adjacency: zero-out. No sampling is claimed: a device's cost counts every round that it takes part
in, `participation` of them at the most, which its own policy has to keep to. With independent noise those releases
compose as so many Gaussians, whatever the other rounds are (Dong, Roth, Su 2022, cor. 3.3).

The figure is the closed form plus what the integer sampler's error costs; beside it stand a numerical accountant
(PLD), which must agree within .5 %, and two that are valid and never tight (RDP, zCDP).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from backrow.privacy.accounting import gaussian
from backrow.privacy.accounting.calibration import (
    RESERVED_COORDINATES,
    epsilon_of,
    noise_multipliers,
    rounds_affordable,
)
from backrow.privacy.accounting.claim import Accounted, check_agreement
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.mechanisms import claim_inflation
from backrow.privacy.units import Adjacency, PrivacyUnit

MOST_ROUNDS = 100_000
"""Of one device, in one question."""
MEANINGLESS = 100.0
"""Above this epsilon nothing is protected, and PLD would need gigabytes to say so."""


@dataclass(frozen=True, slots=True)
class Opinions:
    """Epsilon of the same releases by four accountants, at one delta.

    Attributes:
        closed_form: exact for Gaussian noise, plus the integer sampler's error: the figure that is claimed.
        pld: by privacy loss distributions; None above `MEANINGLESS`.
        rdp, zcdp: upper bounds.
        delta, unit, adjacency, releases: of all four.
    """

    closed_form: float
    pld: float | None
    rdp: float
    zcdp: float
    delta: float
    releases: int
    unit: str = PrivacyUnit.DEVICE.value
    adjacency: str = Adjacency.ZERO_OUT.value


@lru_cache(maxsize=4096)
def opinions(multipliers: tuple[float, ...], delta: float, coordinates: int = RESERVED_COORDINATES) -> Opinions:
    """Four accountants on the same releases.

    Args:
        multipliers: noise sd / sensitivity of every release.
        coordinates: released in all, at the most.

    Raises:
        AccountantDisagreementError: closed form and PLD differ by more than .5 %, or RDP is below one.
        ValueError: an argument is out of range.
    """
    from backrow.privacy.accounting.pld import pld_epsilon
    from backrow.privacy.accounting.rdp import rdp_epsilon

    ours, exact = epsilon_of(multipliers, delta, coordinates), epsilon_of(multipliers, delta)
    rdp, zcdp = rdp_epsilon(multipliers, delta), zcdp_epsilon(multipliers, delta)
    pld = None
    if exact <= MEANINGLESS:
        pld = pld_epsilon(multipliers, delta)
        check_agreement(Accounted(delta, exact, pld, rdp, len(multipliers)))
    return Opinions(ours, pld, rdp, zcdp, delta, len(multipliers))


@dataclass(frozen=True, slots=True)
class Solved:
    """A budget with all four of its numbers.

    Attributes:
        solved: which one was asked for.
        epsilon, delta: of everything one device takes part in.
        rounds: of the run.
        participation: rounds that one device takes part in, at the most.
        noise_multiplier: noise sd / sensitivity of every round.
        clip_norm: bound of one answer, in its own unit.
        noise_scale: noise sd in that unit: multiplier times clip norm (rounding adds less than .01 % where the sum is
            trusted, about 1 % under the secure sum).
        opinions: four accountants on it.
    """

    solved: str
    epsilon: float
    delta: float
    rounds: int
    participation: int
    noise_multiplier: float
    clip_norm: float
    noise_scale: float
    opinions: Opinions

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def solve(
    *,
    epsilon: float | None = None,
    delta: float | None = None,
    rounds: int | None = None,
    noise_multiplier: float | None = None,
    participation: int | None = None,
    clip_norm: float = 1.0,
) -> Solved:
    """The one of epsilon, delta, rounds and noise multiplier that is left out.

    Guarantees: the result never claims less than `epsilon_of` says of it.

    Args:
        participation: rounds that one device takes part in, at the most; None: all of them.
        clip_norm: of one answer, for the noise scale.

    Raises:
        ValueError: not exactly one is left out, or a number is out of range.
    """
    given = {"epsilon": epsilon, "delta": delta, "rounds": rounds, "noise multiplier": noise_multiplier}
    left = [name for name, value in given.items() if value is None]
    if len(left) != 1:
        raise ValueError(
            f"give three of epsilon, delta, rounds and noise multiplier; {', '.join(left) or 'none'} is left out"
        )
    _check(epsilon, delta, rounds, noise_multiplier, participation, clip_norm)
    if rounds is None:
        assert epsilon is not None and delta is not None and noise_multiplier is not None
        if participation is not None:
            raise ValueError("participation bounds the rounds already: leave it out to solve for rounds")
        rounds = rounds_affordable(epsilon, delta, noise_multiplier)
        if rounds == 0:
            raise ValueError(
                f"no round with noise multiplier {noise_multiplier:g} fits epsilon {epsilon:g} at delta {delta:g}: "
                "more noise, or a larger epsilon"
            )
    counted = min(rounds, participation or rounds)
    if counted > MOST_ROUNDS:
        raise ValueError(f"a device takes part in at most {MOST_ROUNDS:,} rounds of one question, got {counted:,}")
    if noise_multiplier is None:
        assert epsilon is not None and delta is not None
        noise_multiplier = noise_multipliers(epsilon, delta, [1 / counted] * counted)[0]
    releases = (noise_multiplier,) * counted
    if delta is None:
        assert epsilon is not None
        delta = _delta(epsilon, releases)
    told = opinions(releases, delta)
    return Solved(
        solved=left[0],
        epsilon=told.closed_form if epsilon is None else epsilon,
        delta=delta,
        rounds=rounds,
        participation=counted,
        noise_multiplier=noise_multiplier,
        clip_norm=clip_norm,
        noise_scale=noise_multiplier * clip_norm,
        opinions=told,
    )


def _check(
    epsilon: float | None,
    delta: float | None,
    rounds: int | None,
    noise_multiplier: float | None,
    participation: int | None,
    clip_norm: float,
) -> None:
    if epsilon is not None:
        gaussian.check_epsilon(epsilon)
    if delta is not None:
        gaussian.check_delta(delta)
    for name, count in (("rounds", rounds), ("participation", participation)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    for name, value in (("noise multiplier", noise_multiplier), ("clip norm", clip_norm)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")


def _delta(epsilon: float, releases: Sequence[float]) -> float:
    """The smallest delta at which these releases are (epsilon, delta)-private, the sampler's error included."""
    mu = gaussian.compose(1 / multiplier for multiplier in releases)
    drift, _ = claim_inflation(RESERVED_COORDINATES, epsilon, 0.5)
    exact = gaussian.delta(max(epsilon - drift, 0.0), mu)
    total = exact + claim_inflation(RESERVED_COORDINATES, epsilon, exact)[1]
    if not 0 < total < 1:
        raise ValueError(f"at epsilon {epsilon:g} these releases have delta {total:.3g}: ask for a smaller epsilon")
    return total
