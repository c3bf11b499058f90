"""The round as a pure state machine: open -> (add ...) -> closed sum, noisy -> release or void.

No clock, no network, no randomness of its own. A sum leaves this module only with its noise inside, and
becomes a release only against the ledger's receipt.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from backrow.privacy.errors import MalformedMessageError, VoidRoundError
from backrow.privacy.plan import Noise, RoundPlan
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import RandomSource
from backrow.privacy.secagg.parameters import Neighbourhood
from backrow.privacy.shares import largest_sum
from backrow.privacy.wire import BlindSum, FloatArray, IntArray
from backrow.server.cohort import Cohort
from backrow.server.drawn import DrawnNoise
from backrow.server.receipts import Receipt, Reservation


@dataclass(frozen=True, slots=True)
class Void:
    """A round without a release. Its reserved budget stays spent."""

    plan: RoundPlan
    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """What leaves the coordinator: a noisy sum and the receipt that accounts for it.

    Attributes:
        values: shape (titles, columns), in the answer's own unit.
    """

    plan: RoundPlan
    values: FloatArray
    participants: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class RoundSum:
    """A sum that already carries its noise, waiting for its receipt.

    Attributes:
        rule: of the secure sum it came from; None where edges are trusted.
        survivors: whose answers are in a secure sum; None where edges do not say.
    """

    plan: RoundPlan
    noisy: IntArray
    participants: int
    rule: Neighbourhood | None = None
    survivors: tuple[str, ...] | None = None
    _digest: str = field(default="", init=False, repr=False, compare=False)
    _values: FloatArray | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def values(self) -> FloatArray:
        """The noisy sum over titles, shape (titles, columns), in the answer's own unit; not to be written to."""
        if self._values is None:
            values = np.asarray(self.noisy[: self.plan.query.titles] / self.plan.scale)
            values.flags.writeable = False
            object.__setattr__(self, "_values", values)
        assert self._values is not None
        return self._values

    @property
    def spread(self) -> float:
        """Standard deviation, at most, of what noise and rounding added to each value, in the answer's own unit.

        The noise is more than the plan claims where more devices than the fewest add their share; rounding counts
        where each device rounds its own answer, by one standard deviation of at most 1/2.
        """
        plan = self.plan
        noise = plan.noise_scale * plan.scale
        if plan.noise is Noise.SHARES and plan.noise_multiplier > 0:
            noise = plan.share_sampler().noise_scale * math.sqrt(self.participants)
        rounded = 0 if plan.rounding is Rounding.BLOCK_NEAREST else self.participants / 4
        return math.hypot(noise, math.sqrt(rounded)) / plan.scale

    @property
    def sentinels(self) -> tuple[int, ...]:
        """Raw integers of the rows that no device touches: pure noise."""
        return tuple(self.noisy[self.plan.query.titles :].ravel().tolist())

    def digest(self) -> str:
        """SHA-256 of what will be released, hex."""
        if not self._digest:
            self.noisy.flags.writeable = False  # what was hashed stays
            numbers = np.ascontiguousarray(self.noisy, dtype="<i8").reshape(-1)
            object.__setattr__(self, "_digest", hashlib.sha256(numbers.data).hexdigest())
        return self._digest

    def release(self, receipt: Receipt) -> Release:
        """Turn into a release.

        Raises:
            ValueError: the receipt is of another round or of other values.
        """
        if (receipt.round, receipt.digest) != (self.plan.round, self.digest()):
            raise ValueError("a release needs the ledger's receipt for exactly these values")
        return Release(self.plan, self.values, self.participants, receipt)


@dataclass(frozen=True, slots=True)
class OpenRound:
    """A reserved round that collects the sums of edges.

    Attributes:
        reservation: proof that the budget was set aside before the first message.
        answered: nodes whose sum is in `_total`.
        rule, survivors: of the secure sum, once it is there.
    """

    plan: RoundPlan
    cohort: Cohort
    reservation: Reservation
    answered: frozenset[int]
    participants: int
    _total: IntArray
    rule: Neighbourhood | None = None
    survivors: tuple[str, ...] | None = None

    @classmethod
    def open(cls, plan: RoundPlan, cohort: Cohort, reservation: Reservation) -> "OpenRound":
        """Start collecting.

        Raises:
            ValueError: the reservation is of another round.
        """
        if reservation.round != plan.round:
            raise ValueError(f"round {plan.round} was opened with the reservation of round {reservation.round}")
        empty = np.zeros((plan.query.rows, plan.query.columns), dtype=np.int64)
        return cls(plan, cohort, reservation, frozenset(), 0, empty)

    def add(self, node: int, message: BlindSum) -> "OpenRound":
        """The round with one edge's sum added.

        Raises:
            MalformedMessageError: of another round, query or shape; from a node that was not invited or
                has answered; for more devices than it hosts; or larger than its devices can make it.
        """
        query = self.plan.query
        if (message.run_id, message.round, message.query) != (self.plan.run_id, self.plan.round, query.query):
            raise MalformedMessageError(f"node {node} answered another question: its sum is ignored")
        if message.values.shape != self._total.shape:
            raise MalformedMessageError(f"node {node} sent shape {message.values.shape}, not {self._total.shape}")
        invited = len(self.cohort.nodes.get(node, ()))
        if node in self.answered or not 0 <= message.participants <= invited:
            raise MalformedMessageError(f"node {node} answered twice or for devices it was not asked for")
        self._check_size(message.values, message.participants, f"node {node} sent")
        return replace(
            self,
            answered=self.answered | {node},
            participants=self.participants + message.participants,
            _total=self._total + message.values if self.answered else message.values,
        )

    def settle(self, values: IntArray, survivors: tuple[str, ...], rule: Neighbourhood) -> "OpenRound":
        """The round with the secure sum of all its devices.

        Args:
            values: shape (coordinates,).

        Raises:
            VoidRoundError: larger than the devices can make it: one of them sent what it may not.
        """
        try:
            self._check_size(values, len(survivors), "the devices made")
        except MalformedMessageError as problem:
            raise VoidRoundError(str(problem)) from None
        total = values.reshape(self._total.shape)
        added = self._total + total
        return replace(self, participants=len(survivors), _total=added, rule=rule, survivors=survivors)

    def _check_size(self, values: IntArray, devices: int, who: str) -> None:
        plan = self.plan
        if plan.noise is Noise.BLOCK or not values.size:
            return
        share = plan.share_sampler().noise_scale if plan.noise is Noise.SHARES else 0.0
        if int(np.abs(values).max()) > largest_sum(plan.query.clip_norm, plan.scale, share, devices):
            raise MalformedMessageError(f"{who} a sum larger than clip norms allow")

    def close(
        self, random: RandomSource | DrawnNoise, earlier: Callable[[int], RandomSource] | None = None
    ) -> RoundSum | Void:
        """Noise the sum, or void the round if too few took part.

        Args:
            random: the source of the noise, or what was drawn of it; `earlier`: as `DrawnNoise`.

        Raises:
            ValueError: as `DrawnNoise`; or what was drawn is another round's, or was taken before.
        """
        drawn = random if isinstance(random, DrawnNoise) else DrawnNoise(self.plan, random, earlier)
        noise = drawn.take(self.plan)
        if self.participants < self.plan.minimum:
            return Void(self.plan, f"{self.participants} devices took part, the minimum is {self.plan.minimum}")
        noisy = self._total if noise is None else np.add(noise, self._total, out=noise)
        return RoundSum(self.plan, noisy, self.participants, self.rule, self.survivors)
