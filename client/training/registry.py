"""Which trainer answers which call. Opacus is imported only when it is asked for."""

from backrow.client.training.base import Trainer
from backrow.client.training.counts import PopularityCounts, RecentCounts
from backrow.client.training.gradient import GradientTrainer
from backrow.client.training.subspace import SubspaceTrainer
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.queries import Query

TRAINERS: dict[str, Query] = {
    "sequence": Query.SEQUENCE,
    "subspace": Query.SUBSPACE,
    "gradient": Query.GRADIENT,
    "sgd": Query.GRADIENT,
    "opacus": Query.GRADIENT,
    "opacus-event": Query.GRADIENT,
}
"""Trainers by name, and the query that each answers."""


def trainer_for(query: Query, name: str) -> Trainer:
    """The trainer for one call.

    Raises:
        RefusedCallError: this SDK has no such trainer, or the trainer does not answer this query.
    """
    match query:
        case Query.POPULARITY:
            return PopularityCounts()
        case Query.RECENT:
            return RecentCounts()
        case Query.EVAL:
            from backrow.client.training.evaluation import EvaluationTrainer

            return EvaluationTrainer()
        case Query.SUBSPACE | Query.GRADIENT | Query.SEQUENCE:
            if TRAINERS.get(name) is not query:
                raise RefusedCallError(f"no trainer {name!r} answers {query} queries here; known: {sorted(TRAINERS)}")
    match name:
        case "subspace":
            return SubspaceTrainer()
        case "sequence":
            from backrow.client.training.sequence import SequenceTrainer

            return SequenceTrainer()
        case "gradient":
            return GradientTrainer()
        case "sgd":
            from backrow.client.training.sgd import SgdTrainer

            return SgdTrainer()
        case "opacus":
            from backrow.client.training.opacus_device import OpacusTrainer

            return OpacusTrainer()
        case _:
            from backrow.client.training.opacus_event import OpacusEventTrainer

            return OpacusEventTrainer()
