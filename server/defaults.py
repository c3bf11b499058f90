"""Rounds and learning rate by trainer and epsilon: a public rule, chosen on validation data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Steps:
    """How many training rounds a run commits to, and the gradient step."""

    rounds: int
    learning_rate: float


def default_steps(trainer: str, epsilon: float | None) -> Steps:
    """The rule. More budget carries more rounds; without a budget the number is a matter of patience.

    Chosen on the validation titles of ML-1M (`benchmarks/quality.py --tune`), never on test titles.
    Tuning is outside epsilon.

    Raises:
        ValueError: unknown trainer.
    """
    budget = float("inf") if epsilon is None else epsilon
    match trainer:
        case "prior":
            return Steps(0, 0.0)
        case "sequence":
            return Steps(2, 0.0)
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
