"""What this device has answered, what that cost its owner, and the limit on it, whatever the coordinator says.

Kept in the participation vault, for every coordinator, run and round together: no new run or key, no change of
consent and no erase of the history makes room. Costs are chosen by the coordinator and may depend on earlier
releases, so a zCDP filter counts them (Whitehouse, Ramdas, Rogers, Wu 2023), not the closed form.

**Time.** An answer is dated by the later of two clocks, the device's and the coordinator's signed one, and never
before an earlier answer; it lapses by whichever of the two is behind. So one wrong clock can only make an answer
count for longer. Both must be wrong in the same direction to make it lapse early, and the coordinator's stands in
its ledger for everybody to see.
"""

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, replace

from backrow.client.policy import DevicePolicy, mu_of
from backrow.client.vault.store import Vault
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import RoundPlan
from backrow.privacy.units import Adjacency, PrivacyUnit, round_up

APART = 7 * 86_400
"""Seconds between the two clocks at most: further apart, no answer can be dated."""
_NOTE = "spending"


@dataclass(frozen=True, slots=True)
class SpentBudget:
    """What the answers of one device cost its owner; for the owner and the host application.

    Attributes:
        epsilon: of all answers of the period together, by zCDP; infinity if one of the sums has no noise.
        releases: how many answers.
        period: seconds before now.
        by_query: epsilon of each query's answers alone; these do not add up to `epsilon`.
    """

    epsilon: float
    delta: float
    unit: PrivacyUnit
    adjacency: Adjacency
    releases: int
    period: float
    by_query: Mapping[str, float]

    def __str__(self) -> str:
        return (
            f"epsilon {round_up(self.epsilon)} (delta {self.delta:g}, unit {self.unit}, adjacency {self.adjacency}, "
            f"by zCDP, {self.releases} releases in {_days(self.period)})"
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer, or several old ones of a query together, dated like the last of them."""

    at: int
    run: str
    round: int
    query: str
    mu_squared: float
    releases: int = 1


class Spending:
    """The record and its limits. Its threads may share it."""

    def __init__(self, vault: Vault, policy: DevicePolicy, clock: Callable[[], int]) -> None:
        self._vault, self._policy, self._clock = vault, policy, clock
        self._lock = threading.Lock()

    def spent(self) -> SpentBudget:
        """What the answers of the last period cost, by the device's clock."""
        counted = self._counted(self._answers(), self._clock())
        by_query = {query: self._epsilon(_of(query, counted)) for query in sorted({each.query for each in counted})}
        return self._spent(counted, by_query)

    def check(self, plan: RoundPlan, reserved_at: int) -> None:
        """Return if this device may answer the round; ask before reading the history.

        Args:
            plan: of the round; its single release is judged by `DevicePolicy.check`.
            reserved_at: when the coordinator reserved its budget, Unix seconds, as signed.

        Raises:
            RefusedCallError: it was answered already, it would exceed a limit, or the clocks contradict each other.
        """
        self._admit(plan, reserved_at, self._clock())

    def reserve(self, plan: RoundPlan, reserved_at: int) -> None:
        """Check again and record the answer; on disk when this returns. Call before anything is handed out.

        A crash afterwards wastes the answer: it counts, and the round is not answered again.

        Raises:
            RefusedCallError: as `check`; nothing is recorded.
            VaultError: it could not be recorded: hand nothing out.
        """
        with self._lock:
            clock = self._clock()
            answers, rounds = self._admit(plan, reserved_at, clock)
            made = _answer(plan, max(clock, reserved_at, *(answer.at for answer in answers)))
            kept = [*_compacted(answers, min(clock, reserved_at) - 2 * self._policy.period), made]
            self._vault.keep_notes(
                {
                    _NOTE: json.dumps([astuple(answer) for answer in kept]).encode(),
                    _rounds_note(plan): json.dumps(sorted({*rounds, plan.round})).encode(),
                }
            )

    def _admit(self, plan: RoundPlan, reserved_at: int, clock: int) -> tuple[list[_Answer], list[int]]:
        """The answers so far, and which rounds of this run were answered."""
        kept = self._vault.note(_rounds_note(plan))
        rounds = [] if kept is None else [int(number) for number in json.loads(kept)]
        if plan.round in rounds:
            raise RefusedCallError("this round was answered already: a device counts once")
        if abs(clock - reserved_at) > APART:
            raise RefusedCallError(
                f"this device's clock and the time signed by the coordinator are {_days(abs(clock - reserved_at))} "
                "apart, and an answer could not be dated: set the clock"
            )
        answers = self._answers()
        self._check_limits(plan, self._counted(answers, min(clock, reserved_at)))
        return answers, rounds

    def _check_limits(self, plan: RoundPlan, counted: list[_Answer]) -> None:
        query, limits = plan.query.query, self._policy.query_epsilons
        asked = [("this device", self._policy.largest_epsilon, counted)]
        if query in limits:
            asked.append((f"the query {query}", limits[query], _of(query, counted)))
        for whose, limit, earlier in asked:
            after = self._epsilon([*earlier, _answer(plan, 0)])
            if after > limit:
                raise RefusedCallError(
                    f"this round would bring {whose} to epsilon {round_up(after)}, the limit is {limit:g}; spent is "
                    f"{self._spent(earlier, {})}: wait until earlier answers lapse, or ask with more noise"
                )

    def _spent(self, counted: list[_Answer], by_query: Mapping[str, float]) -> SpentBudget:
        policy, releases = self._policy, sum(answer.releases for answer in counted)
        unit, adjacency = PrivacyUnit.DEVICE, Adjacency.ZERO_OUT
        return SpentBudget(self._epsilon(counted), policy.delta, unit, adjacency, releases, policy.period, by_query)

    def _epsilon(self, answers: Iterable[_Answer]) -> float:
        from backrow.privacy.accounting.zcdp import epsilon_of_rho

        return epsilon_of_rho(math.fsum(answer.mu_squared for answer in answers) / 2, self._policy.delta)

    def _counted(self, answers: Iterable[_Answer], now: int) -> list[_Answer]:
        return [answer for answer in answers if answer.at > now - self._policy.period]

    def _answers(self) -> list[_Answer]:
        kept = self._vault.note(_NOTE)
        return [] if kept is None else [_Answer(*fields) for fields in json.loads(kept)]


def _compacted(answers: Iterable[_Answer], before: float) -> list[_Answer]:
    """The same with all answers of a query up to a time as one: a longer period, set later, counts them in full."""
    old: dict[str, _Answer] = {}
    recent: list[_Answer] = []
    for answer in answers:
        if answer.at > before:
            recent.append(answer)
        elif (former := old.get(answer.query)) is None:
            old[answer.query] = replace(answer, run="", round=0)
        else:
            old[answer.query] = replace(
                former,
                at=max(former.at, answer.at),
                mu_squared=former.mu_squared + answer.mu_squared,
                releases=former.releases + answer.releases,
            )
    return [*old.values(), *recent]


def _of(query: str, answers: Iterable[_Answer]) -> list[_Answer]:
    return [answer for answer in answers if answer.query == query]


def _answer(plan: RoundPlan, at: int) -> _Answer:
    mu = mu_of(plan)
    return _Answer(at, plan.run_id, plan.round, plan.query.query, mu * mu)


def _rounds_note(plan: RoundPlan) -> str:
    return f"answered/{plan.run_id}"


def _days(seconds: float) -> str:
    return "its whole life" if seconds == math.inf else f"{seconds / 86_400:g} days"
