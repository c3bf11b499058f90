"""The frozen plan of a round: sampler, noise scale and accounting event all come from it.

Because the three are derived from the same object they cannot disagree. Read by the device (what
am I asked, how is it protected), the coordinator (what noise do I add) and the auditor.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from backrow.privacy.accounting.events import GaussianRelease, NoPrivacy, PrivacyEvent
from backrow.privacy.correlated import Correlation
from backrow.privacy.discrete_gaussian import DiscreteGaussian
from backrow.privacy.errors import UnsafePlanError
from backrow.privacy.mechanisms import IntegerGaussian
from backrow.privacy.quantise import Rounding, integer_sensitivity
from backrow.privacy.queries import QuerySchema
from backrow.privacy.shares import MOST_SHARES, RING, honest, largest_sum, share_scale
from backrow.privacy.units import Adjacency, PrivacyUnit

INT64_LIMIT = 2**62
"""Sums stay below this, so that a 64-bit sum cannot wrap."""


class Noise(StrEnum):
    """Where the noise of a round is added."""

    ONCE = "once"
    """By the coordinator, once, as integers."""
    BLOCK = "block"
    """By Opacus, in floating point, a share per block of devices. Simulation only."""
    SHARES = "shares"
    """By every device, an integer share each (docs/noise-shares.md)."""
    CORRELATED = "correlated"
    """By the coordinator, once, as integers made with those of other rounds (docs/continual.md). Simulation only."""


class Aggregation(StrEnum):
    """Who sees single contributions: `trusted` the edge that adds them, `secure` nobody."""

    TRUSTED = "trusted"
    SECURE = "secure"


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What one round asks, of how many, and what noise its release carries.

    Attributes:
        run_id: the run this round belongs to.
        round: number of the round, counted from 1.
        query: shape and bound of one device's answer.
        noise_multiplier: noise standard deviation / sensitivity; 0 claims no privacy.
        scale: integers per unit of the answer; a power of two.
        rounding: how answers become integers; decides the sensitivity after rounding.
        noise: where the noise is added.
        aggregation: who sees single contributions.
        population: N, the public number of enrolled devices; every denominator is this one.
        minimum: the smallest cohort whose sum is released.
        simulated: noise comes from a seed or from floating point: never a production claim.
        omitted: with `Noise.SHARES`, the fraction of devices, at most, that may leave their share out or let others
            know it, in [0, 1).
        correlation: with `Noise.CORRELATED`, the sequence of releases that this one belongs to. `noise_multiplier` is
            then that of this release by itself; what it costs with others, `accounting.sequences` says.
    """

    run_id: str
    round: int
    query: QuerySchema
    noise_multiplier: float
    scale: float
    rounding: Rounding
    noise: Noise
    aggregation: Aggregation
    population: int
    minimum: int
    simulated: bool
    omitted: float = 0.0
    correlation: Correlation | None = None

    def __post_init__(self) -> None:
        if self.round < 1:
            raise UnsafePlanError(f"rounds are counted from 1, got {self.round}")
        if not 0 <= self.noise_multiplier < math.inf:
            raise UnsafePlanError(f"noise_multiplier must be finite and >= 0, got {self.noise_multiplier}")
        if not 1 <= self.minimum <= self.population:
            raise UnsafePlanError(
                f"minimum cohort {self.minimum} must be between 1 and the population {self.population}"
            )
        if not (self.scale > 0 and math.frexp(self.scale)[0] == 0.5):
            raise UnsafePlanError(f"scale must be a power of two, got {self.scale}")
        if self.noise is Noise.BLOCK and not self.simulated:
            raise UnsafePlanError("floating-point noise (Opacus) carries no production claim: mark the plan simulated")
        if not 0 <= self.omitted < 1 or (self.omitted and self.noise is not Noise.SHARES):
            raise UnsafePlanError(
                f"omitted must be a fraction in [0, 1), and 0 where devices add no shares, got {self.omitted}"
            )
        self._check_places()
        self._check_correlation()
        # What cannot be sampled is refused here, before the round is asked, not after.
        if self.noise is Noise.SHARES:
            share = self.share_sampler().noise_scale
            largest = largest_sum(self.query.clip_norm, self.scale, share, self.population)
        else:
            largest = self.population * (self.scale * self.query.clip_norm + 1) + 40 * self.integer_noise_scale
        limit = RING if self.aggregation is Aggregation.SECURE else INT64_LIMIT
        if largest >= limit:
            raise UnsafePlanError(
                f"the sum of {self.population} answers could reach {largest:.3g} and wrap around at {limit:.3g}: lower "
                "the scale"
            )
        if self.noise in (Noise.ONCE, Noise.CORRELATED):
            self.sampler()

    def _check_places(self) -> None:
        """Refuse noise and rounding in places that do not go together."""
        blocks = self.noise is Noise.BLOCK or self.rounding is Rounding.BLOCK_NEAREST
        if blocks and self.aggregation is Aggregation.SECURE:
            raise UnsafePlanError("a secure sum adds what each device has rounded itself: no block may be added before")
        if self.noise is Noise.SHARES and self.rounding is Rounding.BLOCK_NEAREST:
            raise UnsafePlanError("noise in shares is added to answers that each device has rounded itself")
        if self.noise is Noise.SHARES and honest(self.minimum, self.omitted) > MOST_SHARES:
            raise UnsafePlanError(f"noise in shares is bounded for up to {MOST_SHARES:,} devices")

    def _check_correlation(self) -> None:
        """Refuse a correlation without correlated noise, the reverse, and what is not built for it."""
        if (self.correlation is None) is (self.noise is Noise.CORRELATED):
            raise UnsafePlanError("correlated noise names the sequence that it belongs to, and no other noise does")
        if self.correlation is None:
            return
        if not self.simulated:
            raise UnsafePlanError("correlated noise is for simulations: its secret is not bound to a ledger (ADR 006)")
        if self.aggregation is Aggregation.SECURE:
            raise UnsafePlanError("correlated noise is added to a sum that the coordinator sees: use another noise")
        implied = self.correlation.release_spread(self.correlation.place(self.round))
        if not math.isclose(self.noise_multiplier, implied, rel_tol=1e-12):
            raise UnsafePlanError(
                f"by its sequence, round {self.round} has noise multiplier {implied!r}, not {self.noise_multiplier!r}"
            )

    @property
    def integer_sensitivity(self) -> float:
        """Largest L2 change of the integer sum when one device's answer becomes zero."""
        return integer_sensitivity(self.query.clip_norm, self.query.dimension, self.scale, self.rounding)

    @property
    def integer_noise_scale(self) -> float:
        """Standard deviation of the integer noise on the sum, guaranteed whoever takes part."""
        return self.noise_multiplier * self.integer_sensitivity

    def integer_noise_scale_at(self, survivors: int) -> float:
        """Standard deviation of the integer noise that a sum of so many devices carries, at least.

        With `Noise.SHARES` more than `integer_noise_scale` from `minimum` survivors on, if no more than `omitted` of
        them left their share out. Runs on the coordinator and at the auditor.
        """
        match self.noise:
            case Noise.SHARES:
                return self.share_sampler().noise_scale * math.sqrt(honest(survivors, self.omitted))
            case Noise.ONCE | Noise.BLOCK | Noise.CORRELATED:
                return self.noise_scale * self.scale
            case _:
                assert_never(self.noise)

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise on the released sum, in the answer's own unit; guaranteed."""
        match self.noise:
            case Noise.ONCE | Noise.SHARES | Noise.CORRELATED:
                return self.integer_noise_scale / self.scale
            case Noise.BLOCK:
                return self.noise_multiplier * self.query.clip_norm
            case _:
                assert_never(self.noise)

    def sampler(self) -> IntegerGaussian:
        """The integer noise of this round (for `Noise.ONCE`), or the draws it is made of (for `Noise.CORRELATED`)."""
        if self.correlation is not None:
            return self.correlation.sampler(self.integer_sensitivity)
        return IntegerGaussian(self.integer_noise_scale)

    def share_sampler(self) -> DiscreteGaussian:
        """One device's share (for `Noise.SHARES`), sized so that the fewest honest survivors carry the noise."""
        return DiscreteGaussian(share_scale(self.integer_noise_scale, honest(self.minimum, self.omitted)))

    def event(self) -> PrivacyEvent:
        """What the accountant is told: a Gaussian release with this plan's multiplier.

        Raises:
            UnsafePlanError: the round's noise belongs to that of others: `accounting.sequences.events_of` counts them.
        """
        if self.correlation is not None:
            raise UnsafePlanError("a release with correlated noise is not counted by itself: count its sequence")
        if self.noise_multiplier == 0:
            return NoPrivacy()
        return GaussianRelease(self.noise_multiplier, dimension=self.query.dimension)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything a run may release, committed before its first round.

    Attributes:
        rounds: the plans, in order, numbered from 1.
        epsilon: the budget; None claims no privacy.
        delta: failure probability of the claim, in (0, 1).
    """

    run_id: str
    rounds: tuple[RoundPlan, ...]
    epsilon: float | None
    delta: float
    unit: PrivacyUnit = PrivacyUnit.DEVICE
    adjacency: Adjacency = Adjacency.ZERO_OUT

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1 (exclusive), got {self.delta}")
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be a positive number, got {self.epsilon}")
        if [plan.round for plan in self.rounds] != list(range(1, len(self.rounds) + 1)):
            raise UnsafePlanError("the rounds of a schedule are numbered 1, 2, 3, ... in order")
        if any(plan.run_id != self.run_id for plan in self.rounds):
            raise UnsafePlanError("every round of a schedule belongs to its run")
        self._check_sequences()

    def _check_sequences(self) -> None:
        """Sequences of correlated noise are committed whole, over one question: their draws are used once."""
        for plan in self.rounds:
            if plan.correlation is None:
                continue
            first, stride, horizon = plan.correlation.first, plan.correlation.stride or 1, plan.correlation.horizon
            others = self.rounds[first - 1 : first + (horizon - 1) * stride : stride]
            alike = all(
                (each.correlation, each.query, each.scale, each.rounding)
                == (plan.correlation, plan.query, plan.scale, plan.rounding)
                for each in others
            )
            if len(others) < horizon or not alike:
                raise UnsafePlanError("a sequence of correlated noise is committed whole, and asks one question only")

    @property
    def simulated(self) -> bool:
        """True if any round's noise is seeded or floating point."""
        return any(plan.simulated for plan in self.rounds)
