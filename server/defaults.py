"""Trainer, rounds and learning rate by public numbers: budget, devices, titles. Chosen on validation data."""

import math
from dataclasses import dataclass

from backrow.privacy.accounting.gaussian import mu_for

ONE_ROUND, TWO_ROUNDS = 0.4, 1.0
"""Below these, mu * devices / titles, what a budget can say about a title, carries `sequence` one round, or two."""
VERY_SCARCE = 0.2
"""Below this, likewise, the popularity takes the most of the budget: it then says the most."""
SCARCE_SHARES = (0.6, 0.3)
"""Of the budget, at least, for the popularity: there, and elsewhere below `TWO_ROUNDS`."""
MOST_ROUNDS = (3, 4)
"""Of `sequence`, with a budget and without."""
ENOUGH = {"gradient": 0.25, "sequence": ONE_ROUND}
"""From here on, mu * devices / titles, a trainer is chosen: below, noise drowns what it would add to `prior`.
`sequence` needs it only where no metadata says which titles are alike: with it, it shrinks to what that says by itself.
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which trainer a run takes, and why, in words."""

    trainer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Steps:
    """How many training rounds a run commits to, the gradient step, and the popularity's least share of the budget."""

    rounds: int
    learning_rate: float
    popularity_share: float = 0.0


def default_trainer(
    epsilon: float | None, *, delta: float, population: int, titles: int, ordered: bool, described: bool = True
) -> Choice:
    """The trainer of a run that names none. Everything it weighs is public before the run.

    Chosen on validation titles of ML-1M and ML-100K (docs/algorithms.md), never on test titles.

    Args:
        population, titles: of the run, >= 1.
        ordered: devices know in which order their titles were watched; a fact of the service, not of its viewers.
        described: the catalogue has metadata that tells titles apart.
    """
    trainer = "sequence" if ordered else "gradient"
    order = "the order of watching is known" if ordered else "the order of watching is not known"
    if epsilon is None:
        return Choice(trainer, f"{order}, and no noise is added")
    said, least = what_is_said(epsilon, delta, population, titles), ENOUGH[trainer]
    told = f"mu * devices / titles is {said:.3g}"
    if ordered and described:
        return Choice(trainer, f"{order}, and metadata says which titles are alike; {told}")
    if said < least:
        return Choice("prior", f"{told}, less than the {least:g} from which {trainer} is better")
    return Choice(trainer, f"{order}, and {told}, at least {least:g}")


def what_is_said(epsilon: float, delta: float, population: int, titles: int) -> float:
    """mu * devices / titles: what a budget can say about a title."""
    return mu_for(epsilon, delta) * population / titles


def default_steps(
    trainer: str,
    epsilon: float | None,
    *,
    delta: float = 1e-5,
    population: int | None = None,
    titles: int | None = None,
) -> Steps:
    """The rule. More budget carries more rounds; without a budget the number is a matter of patience.

    Chosen on the validation titles of ML-1M (`benchmarks/quality.py --tune`), never on test titles.
    `sequence` also on those of ML-100K. Tuning is outside epsilon.

    Args:
        delta, population, titles: what `sequence` weighs besides epsilon; None: as if there were many devices.

    Raises:
        ValueError: unknown trainer.
    """
    budget = float("inf") if epsilon is None else epsilon
    match trainer:
        case "prior":
            return Steps(0, 0.0)
        case "sequence":
            said = math.inf
            if epsilon is not None and population and titles:
                said = what_is_said(epsilon, delta, population, titles)
            rounds = 1 if said < ONE_ROUND else 2 if said < TWO_ROUNDS else MOST_ROUNDS[epsilon is None]
            share = SCARCE_SHARES[said >= VERY_SCARCE] if said < TWO_ROUNDS else 0.0
            return Steps(rounds, 0.0, share)
        case "subspace":
            return Steps(1, 0.0)
        case "gradient" | "sgd" | "opacus" | "opacus-event":
            if budget < 2:
                return Steps(6, 2.0)
            if budget < 5:
                return Steps(12, 2.0)
            if budget < 15:
                return Steps(16, 3.0)
            return Steps(24, 3.0 if epsilon is not None else 6.0)
    raise ValueError(
        f"unknown trainer {trainer!r}: use sequence, prior, subspace, gradient, sgd, opacus or opacus-event"
    )
