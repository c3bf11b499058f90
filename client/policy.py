"""What a device refuses, whatever the coordinator says and signs."""

import math
from dataclasses import dataclass

from backrow.privacy.accounting.events import GaussianRelease, NoPrivacy
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Aggregation, RoundPlan
from backrow.privacy.queries import Query


@dataclass(frozen=True, slots=True)
class DevicePolicy:
    """Limits of one device, chosen by the host application.

    Attributes:
        largest_mu: largest sensitivity / noise standard deviation of one release, > 0. One release with .5
            has epsilon 2.0, with 1 4.4, with 1.5 7.1 (delta 1e-5, unit device, adjacency zero-out). Infinity
            accepts no noise at all. How many releases there are is not limited here.
        smallest_cohort: fewest devices, invited and summed, >= 1.
        known: the queries, with version, whose meaning this device knows.
        accept_trusted: answer an edge in the clear, which then sees this device's own answer.
        accept_simulated: answer rounds whose noise can be recomputed or is floating point.
    """

    largest_mu: float = 1.0
    smallest_cohort: int = 100
    known: frozenset[tuple[Query, int]] = frozenset((query, 1) for query in Query)
    accept_trusted: bool = False
    accept_simulated: bool = False

    def __post_init__(self) -> None:
        if not self.largest_mu > 0:
            raise ValueError(f"largest_mu must be > 0, got {self.largest_mu}: to refuse every call, withhold consent")
        if self.smallest_cohort < 1:
            raise ValueError(f"smallest_cohort must be >= 1, got {self.smallest_cohort}")

    @property
    def smallest_noise_multiplier(self) -> float:
        """Least noise standard deviation / sensitivity of one release."""
        return 1 / self.largest_mu

    def check(self, plan: RoundPlan, participants: int) -> None:
        """Return if this device may answer.

        Args:
            plan: what the coordinator committed to.
            participants: how many devices it invites.

        Raises:
            RefusedCallError: the first limit that the call exceeds.
        """
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
            case Aggregation.TRUSTED | Aggregation.SECURE:
                pass
        mu = _mu(plan)
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


def _mu(plan: RoundPlan) -> float:
    match plan.event():
        case GaussianRelease() as release:
            return release.mu
        case NoPrivacy():
            return math.inf
