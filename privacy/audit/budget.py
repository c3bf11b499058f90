"""Epsilon, recomputed: at every prefix in closed form and by Renyi DP, for the whole by PLD as well. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from backrow.privacy.accounting.calibration import epsilon_of
from backrow.privacy.accounting.pld import pld_epsilon
from backrow.privacy.audit.findings import Fault, Findings
from backrow.privacy.audit.formulas import FloatArray, exact, mu_squared, renyi
from backrow.privacy.audit.model import Account
from backrow.privacy.audit.sequences import alone as alone_squares
from backrow.privacy.audit.sequences import increments, multipliers, squared
from backrow.privacy.audit.story import Claimed, Story
from backrow.privacy.ledger.entries import PolicyEntry, ScheduleEntry
from backrow.privacy.ledger.parts import Basis, Purpose
from backrow.privacy.ledger.releases import ZCDP

AGREEMENT = 0.005
"""Relative difference, at most, of closed form, quadrature and PLD."""
ROUNDING = 1e-7
"""Relative difference that floating point explains."""
_NEAR_ZERO = 1e-6
_MEANINGLESS = 100
"""Above this epsilon, PLD is not asked: it would need gigabytes to say that nothing is protected."""
_MOST_DISTINCT = 50
_STEP = 2e-4


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Epsilon after each reservation: of itself, of everything, of its purpose, and the Renyi bound of everything.

    Attributes:
        closed: of everything, in closed form.
        together, purpose: the same until the first addition; from there on by zCDP (for Gaussian releases, the Renyi
            bound), which holds for costs that depend on earlier releases.
        added: position of the first addition; beyond all if there is none.
    """

    squares: FloatArray
    alone: FloatArray
    closed: FloatArray
    together: FloatArray
    purpose: FloatArray
    bound: FloatArray
    added: int


def prefixes(story: Story, delta: float) -> Prefixes:
    """Every prefix at once."""
    plans = [reserved.entry.plan for reserved in story.reserves]
    squares, single = increments(plans), alone_squares(plans)
    split = increments(plans, [reserved.entry.purpose for reserved in story.reserves])
    purposes = np.array([list(Purpose).index(reserved.entry.purpose) for reserved in story.reserves], dtype=np.int64)
    own = np.zeros(len(squares))
    for number in range(len(Purpose)):
        mine = purposes == number
        own[mine] = np.cumsum(split[mine])
    total = np.cumsum(squares)
    distinct, place = np.unique(single, return_inverse=True)
    alone = exact(np.sqrt(distinct), delta)[place] if len(squares) else np.zeros(0)
    closed, bound = exact(np.sqrt(total), delta), renyi(total, delta)
    one = np.array_equal(own, total)
    purpose = closed if one else exact(np.sqrt(own), delta)
    added = next((r.position for r in story.reserves if r.entry.basis is Basis.ADDITION), len(squares))
    late = np.arange(len(squares)) >= added
    together = np.where(late, bound, closed)
    purpose = np.where(late, bound if one else renyi(own, delta), purpose)
    return Prefixes(squares, alone, closed, together, purpose, bound, added)


def check_budget(story: Story, policy: PolicyEntry, sums: Prefixes, found: Findings) -> tuple[Account, ...]:
    """Budgets at every prefix, schedules, every claimed epsilon, and the accountants against one another."""
    _check_schedules(story, found)
    _check_limits(story, policy, sums, found)
    for claimed in story.claims:
        _check_claim(claimed, story, policy, sums, found)
    return _accounts(story, policy, sums, found)


def _check_schedules(story: Story, found: Findings) -> None:
    for signed in story.others:
        if not isinstance(signed.body, ScheduleEntry):
            continue
        schedule = signed.body.schedule
        if schedule.epsilon is None:
            continue
        cost = float(exact(np.array([math.sqrt(squared(schedule.rounds))]), schedule.delta)[0])
        if cost > schedule.epsilon * (1 + ROUNDING):
            found.add(
                Fault.SCHEDULE_OVER_BUDGET,
                f"The schedule of entry {signed.index} costs epsilon {cost:.6g} and allows {schedule.epsilon:g}.",
                signed.index,
            )


def _check_limits(story: Story, policy: PolicyEntry, sums: Prefixes, found: Findings) -> None:
    if policy.epsilon is not None:
        whole = range(len(sums.squares))
        _exceeds(Fault.BUDGET, "everything", sums.closed, policy.epsilon, policy.delta, whole, story, found)
        if Fault.BUDGET not in found:
            what = "everything, counted as added rounds must be,"
            _exceeds(Fault.FILTER, what, sums.together, policy.epsilon, policy.delta, whole, story, found)
    for budget in policy.purposes:
        mine = [r.position for r in story.reserves if r.entry.purpose is budget.purpose]
        what = f"the purpose {budget.purpose}"
        _exceeds(Fault.PURPOSE_BUDGET, what, sums.purpose, budget.epsilon, policy.delta, mine, story, found)


def _exceeds(
    fault: Fault,
    what: str,
    epsilons: FloatArray,
    limit: float,
    delta: float,
    positions: Sequence[int],
    story: Story,
    found: Findings,
) -> None:
    """Name the first prefix that is above the limit."""
    for position in positions:
        if epsilons[position] > limit * (1 + ROUNDING):
            index = story.reserves[position].index
            found.add(
                fault,
                f"With entry {index}, {what} costs epsilon {epsilons[position]:.6g} at delta {delta:g}; the rules "
                f"allow {limit:g}.",
                index,
            )
            return


def _check_claim(claimed: Claimed, story: Story, policy: PolicyEntry, sums: Prefixes, found: Findings) -> None:
    spent = claimed.spent
    if spent.delta != policy.delta:
        return  # named as such; at another delta nothing can be compared
    true, closed = _truth(claimed, story, sums, policy.delta)
    if spent.epsilon is None:
        if policy.epsilon is not None:
            found.add(
                Fault.MISSTATED,
                f"Entry {claimed.entry} claims no epsilon for {claimed.what}; the rules have a budget, and it is "
                f"{true:.6g}.",
                claimed.entry,
            )
        return
    added = claimed.upto is not None and claimed.upto >= sums.added
    if claimed.accountant is not None and added is not (claimed.accountant == ZCDP[0]):
        found.add(
            Fault.UNFIT,
            f"Entry {claimed.entry} names {claimed.accountant} as its accountant, "
            + ("but rounds were added, and only zCDP holds." if added else "but no round was added."),
            claimed.entry,
        )
    # Under a budget, noise-free rounds cost infinity; without one, a claim has nothing to stand on.
    if spent.epsilon < true * (1 - ROUNDING) - 1e-12:
        if added and math.isclose(spent.epsilon, closed, rel_tol=ROUNDING):
            found.add(
                Fault.UNFIT,
                f"Entry {claimed.entry} claims epsilon {spent.epsilon:.6g} for {claimed.what}, in closed form; with "
                f"the rounds that were added only zCDP holds, by which it is {true:.6g} at delta {policy.delta:g}.",
                claimed.entry,
            )
            return
        found.add(
            Fault.UNDERSTATED,
            f"Entry {claimed.entry} claims epsilon {spent.epsilon:.6g} for {claimed.what}; it is {true:.6g} at delta "
            f"{policy.delta:g}.",
            claimed.entry,
        )
        return
    most = true if claimed.upto is None else max(true, float(sums.together[claimed.upto]))
    if spent.epsilon > most * (1 + AGREEMENT) + _NEAR_ZERO:
        found.add(
            Fault.MISSTATED,
            f"Entry {claimed.entry} claims epsilon {spent.epsilon:.6g} for {claimed.what}; that cannot be explained by "
            f"its releases, which cost {most:.6g} at delta {policy.delta:g}.",
            claimed.entry,
        )


def _truth(claimed: Claimed, story: Story, sums: Prefixes, delta: float) -> tuple[float, float]:
    """What its releases cost, as it must be counted and in closed form."""
    if claimed.last is not None:
        return float(sums.together[claimed.last]), float(sums.closed[claimed.last])
    if claimed.upto is None:
        return (float(sums.alone[claimed.rounds[0]]),) * 2
    total = np.array([squared(story.reserves[position].entry.plan for position in set(claimed.rounds))])
    closed = float(exact(np.sqrt(total), delta)[0])
    return (float(renyi(total, delta)[0]) if claimed.upto >= sums.added else closed), closed


def _accounts(story: Story, policy: PolicyEntry, sums: Prefixes, found: Findings) -> tuple[Account, ...]:
    purposes = sorted({reserved.entry.purpose for reserved in story.reserves}, key=list(Purpose).index)
    limits = {budget.purpose: budget.epsilon for budget in policy.purposes}
    accounts = []
    for purpose in (None, *purposes):
        mine = [r for r in story.reserves if purpose is None or r.entry.purpose is purpose]
        counted = multipliers(r.entry.plan for r in mine)
        dimension = sum(r.entry.plan.query.dimension for r in mine)
        total = np.array([math.fsum(mu_squared(counted))])
        closed = float(exact(np.sqrt(total), policy.delta)[0])
        finite = all(multiplier > 0 for multiplier in counted) and closed < math.inf
        sampler = epsilon_of(counted, policy.delta, dimension) if finite else math.inf
        pld = None
        if closed <= _MEANINGLESS and (purpose is None or len(purposes) == 1):
            pld = _pld(tuple(sorted(counted)), policy.delta)
        bound = float(renyi(total, policy.delta)[0]) if finite else math.inf
        budget = policy.epsilon if purpose is None else limits.get(purpose)
        added = sums.added < len(sums.squares)
        account = Account(purpose, budget, policy.delta, closed, sampler, pld, bound, len(mine), added)
        check_agreement(account, found)
        accounts.append(account)
    return tuple(accounts)


def check_agreement(account: Account, found: Findings) -> None:
    """Closed form, quadrature and PLD must agree within .5 %, and Renyi DP be above them."""
    closed = account.closed_form
    if closed == math.inf:
        return
    others = [account.with_sampler] + ([account.pld] if account.pld is not None else [])
    agree = all(abs(other - closed) <= AGREEMENT * closed + _NEAR_ZERO for other in others)
    # Asked this way round, NaN is a disagreement.
    if not (agree and account.rdp >= max(closed, *others) * (1 - ROUNDING) - _NEAR_ZERO):
        found.add(
            Fault.ACCOUNTANTS,
            f"Independent calculations of epsilon at delta {account.delta:g} give {closed:.6g}, "
            f"{', '.join(f'{other:.6g}' for other in others)} and at most {account.rdp:.6g}: none of them can be "
            "relied on.",
        )


@lru_cache(maxsize=64)
def _pld(multipliers: tuple[float, ...], delta: float) -> float:
    """By dp-accounting. Many different rounds are rounded to a little less noise, so that few are convolved."""
    if len(set(multipliers)) > _MOST_DISTINCT:
        multipliers = tuple(math.exp(math.floor(math.log(multiplier) / _STEP) * _STEP) for multiplier in multipliers)
    return pld_epsilon(multipliers, delta)
