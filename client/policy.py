"""What a device refuses, whatever the coordinator says and signs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from backrow.privacy.accounting.events import GaussianRelease, NoPrivacy
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.queries import Query

if TYPE_CHECKING:  # loaded with the first call, not with the SDK
    from backrow.privacy.plan import RoundPlan


@dataclass(frozen=True, slots=True)
class DevicePolicy:
    """Limits of one device, chosen by the host application.

    What an owner's answers may cost together (delta 1e-5, unit device, adjacency zero-out): a run that claims
    epsilon in closed form needs this `largest_epsilon`, which counts by zCDP:

    | one run at epsilon | 1 | 3 | 8 | 20 |
    |---|---|---|---|---|
    | takes of the limit | 1.1 | 3.3 | 8.6 | 21.4 |

    The default admits one run at 8 a quarter, or two at 4.

    Attributes:
        largest_mu: largest sensitivity / noise standard deviation of one release, > 0. One release with .5
            has epsilon 2.0, with 1 4.4, with 1.5 7.1 (delta 1e-5, unit device, adjacency zero-out). Infinity
            accepts no noise at all, if largest_epsilon is infinity too.
        smallest_cohort: fewest devices, invited and summed, >= 1.
        known: the queries, with version, whose meaning this device knows.
        accept_trusted: answer an edge in the clear, which then sees this device's own answer; or let the
            coordinator see a sum before it adds the noise.
        adversaries: fraction of a cohort that may work together against this device; a secure sum must stand them,
            and carry enough noise without theirs.
        accept_simulated: answer rounds whose noise can be recomputed or is floating point.
        largest_epsilon: of all answers within any `period` together, at `delta`, by zCDP, > 0.
        delta: in (0, 1).
        period: seconds, > 0; twelve weeks let a quarterly run begin a few days early. Infinity: for life.
        query_epsilons: further limits on the answers to one query, each at the same delta and period.
    """

    largest_mu: float = 1.0
    smallest_cohort: int = 100
    known: frozenset[tuple[Query, int]] = frozenset((query, 1) for query in Query)
    accept_trusted: bool = False
    adversaries: float = 0.05
    accept_simulated: bool = False
    largest_epsilon: float = 9.0
    delta: float = 1e-5
    period: float = 12 * 7 * 86_400
    query_epsilons: Mapping[Query, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "query_epsilons", MappingProxyType(dict(self.query_epsilons)))
        if not self.largest_mu > 0:
            raise ValueError(f"largest_mu must be > 0, got {self.largest_mu}: to refuse every call, withhold consent")
        if self.smallest_cohort < 1:
            raise ValueError(f"smallest_cohort must be >= 1, got {self.smallest_cohort}")
        if not all(epsilon > 0 for epsilon in (self.largest_epsilon, *self.query_epsilons.values())):
            raise ValueError(
                f"largest_epsilon and query_epsilons must be > 0, got {self.largest_epsilon} and "
                f"{dict(self.query_epsilons)}: to refuse a query, leave it out of known"
            )
        if not 0 <= self.adversaries < 1:
            raise ValueError(f"adversaries are a fraction of a cohort, 0 <= it < 1, got {self.adversaries}")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1 (exclusive), got {self.delta}")
        if not self.period > 0:
            raise ValueError(f"period must be > 0 seconds, got {self.period}")

    @property
    def smallest_noise_multiplier(self) -> float:
        """Least noise standard deviation / sensitivity of one release."""
        return 1 / self.largest_mu

    def check(self, plan: "RoundPlan", participants: int) -> None:
        """Return if this device may answer this round by itself; what rounds cost together, `Spending` checks.

        Args:
            plan: what the coordinator committed to.
            participants: how many devices it invites.

        Raises:
            RefusedCallError: the first limit that the call exceeds.
        """
        from fractions import Fraction

        from backrow.privacy.plan import Aggregation, Noise
        from backrow.privacy.shares import honest

        query = plan.query
        if (query.query, query.version) not in self.known:
            raise RefusedCallError(
                f"the call asks {query.query} in version {query.version}, unknown to this device: update the SDK"
            )
        if plan.simulated and not self.accept_simulated:
            raise RefusedCallError(
                "the round's noise is simulated and protects nobody: only a test device sets accept_simulated"
            )
        match plan.aggregation:
            case Aggregation.TRUSTED if not self.accept_trusted:
                raise RefusedCallError(
                    "the call asks for an answer in the clear, which the edge would see: the host application "
                    "must set accept_trusted if its owner trusts this edge"
                )
            case Aggregation.SECURE if plan.noise is not Noise.SHARES and not self.accept_trusted:
                raise RefusedCallError(
                    "the coordinator would see the sum before its noise: devices must add it in shares, or the host "
                    "application set accept_trusted if its owner trusts the coordinator"
                )
            case Aggregation.TRUSTED | Aggregation.SECURE:
                pass
        # Of the whole cohort: the coordinator says who drops out, and lets its own devices stay.
        adversaries = math.ceil(Fraction(str(self.adversaries)) * participants)
        if plan.noise is Noise.SHARES and plan.minimum - honest(plan.minimum, plan.omitted) < adversaries:
            raise RefusedCallError(
                f"the noise is enough if {plan.omitted:.2%} of the fewest {plan.minimum} devices leave theirs out, "
                f"this device assumes {adversaries} of the {participants} that are asked: there is too little noise"
            )
        if plan.noise is Noise.CORRELATED:
            raise RefusedCallError(
                "the round's noise belongs to that of other rounds and holds for a device that answers few of them: "
                "this device keeps no count of those"
            )
        mu = mu_of(plan)
        if mu > self.largest_mu:
            raise RefusedCallError(
                f"the round's noise multiplier is {plan.noise_multiplier:.3g}, "
                f"this device answers from {self.smallest_noise_multiplier:.3g} on: there is too little noise"
            )
        fewest = min(plan.minimum, participants)
        if fewest < self.smallest_cohort:
            raise RefusedCallError(
                f"the sum may be released for {fewest} devices, this device answers in a crowd of "
                f"{self.smallest_cohort} or more"
            )


def mu_of(plan: "RoundPlan") -> float:
    """Sensitivity / noise standard deviation of a round's release; infinity without noise."""
    match plan.event():
        case GaussianRelease() as release:
            return release.mu
        case NoPrivacy():
            return math.inf
