"""How well each week's model serves the week after it. Ground truth of the simulator: never released."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import RawHistory
from backrow.client.sequence import Memory, context_of
from backrow.server.outcome import Outcome
from backrow.server.programs.base import PUBLISHED, Answer, FloatArray, ModelTensors
from backrow.server.programs.continual import ContinualProgram
from backrow.simulations.churn import Lives
from backrow.simulations.metrics import BLOCK, LIST, half_ranks


@dataclass(frozen=True, slots=True)
class Asked:
    """Devices that watch something in a week, each with the title that it watches last.

    Attributes:
        week: in which they watch; they use the model of the week before.
        known: titles watched before that one, shape (known of it,) each, in the order of watching.
        title: shape (devices,).
    """

    week: int
    known: tuple[NDArray[np.int32], ...]
    title: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.known)


def asked_in(lives: Lives, week: int) -> Asked:
    """Everybody who is there in a week and watches something that is not the first title of all.

    Opted out or not: withdrawing contributions never disables recommendations.
    """
    before, until = lives.watched(week - 1), lives.watched(week)
    here = np.flatnonzero((until > before) & (until > 1) & lives.there(week))
    last = lives.starts[here] + until[here] - 1
    known = tuple(lives.title[lives.starts[slot] : at] for slot, at in zip(here, last, strict=True))
    return Asked(week, known, lives.title[last].astype(np.int64))


def contexts_of(asked: Asked, model: ModelTensors) -> FloatArray:
    """What each device makes of its history, shape (devices, columns); the same for every model of one embedding."""
    assert model.sequence is not None, "models of a run over weeks are made of contexts"
    memory = Memory.of(model.sequence.settings)
    embedding = model.sequence.embedding.astype(PUBLISHED).astype(np.float64)
    made = [context_of(embedding, _history(known), memory) for known in asked.known]
    return np.array(made).reshape(len(asked), embedding.shape[1])


def ranks_of(asked: Asked, contexts: FloatArray, model: ModelTensors) -> FloatArray:
    """Rank of each device's title among all titles it has not watched, from 0, ties half; shape (devices,)."""
    factors = model.item_factors.astype(PUBLISHED).astype(np.float64)
    popularity = model.popularity.astype(PUBLISHED).astype(np.float64)
    ranks = np.empty(len(asked))
    for start in range(0, len(asked), BLOCK):
        rows = slice(start, min(start + BLOCK, len(asked)))
        scores = popularity + contexts[rows] @ factors.T
        for row, known in enumerate(asked.known[rows]):
            scores[row, known] = -np.inf
        ranks[rows] = half_ranks(scores, asked.title[rows])
    return ranks


def weekly_models(start: ContinualProgram, outcome: Outcome) -> dict[int, ModelTensors]:
    """The model after every week that was asked, as anybody makes it from the releases; by week.

    Args:
        start: the program before the first round, or one that makes something else of the same releases.
    """
    released = {release.plan.round: release for release in outcome.releases}
    program, models, queries = start, {}, len(start.settings.queries)
    for report in outcome.reports:
        plan = report.plan
        answer = None
        if (release := released.get(plan.round)) is not None:
            answer = Answer(release.values, plan.noise_scale, plan.noise_multiplier)
        program = program.absorb(plan.query.query, answer)
        if plan.round % queries == 0:
            models[plan.round // queries] = program.model()
    return models


def all_ranks(
    lives: Lives, weeks: Sequence[int], models: Mapping[str, Mapping[int, ModelTensors]]
) -> dict[int, dict[str, FloatArray]]:
    """Ranks by every model that there is after a week, of whoever watches in the week that follows; by week and name.

    Args:
        models: by name and week; one that is missing in a week is left out there.
    """
    found: dict[int, dict[str, FloatArray]] = {}
    for week in weeks:
        asked, contexts = asked_in(lives, week + 1), None
        found[week] = {}
        for name, by_week in models.items():
            if (model := by_week.get(week)) is None:
                continue
            if contexts is None:
                contexts = contexts_of(asked, model)
            found[week][name] = ranks_of(asked, contexts, model)
    return found


def _history(known: NDArray[np.int32]) -> RawHistory:
    by_title = np.argsort(known)
    order = np.empty(len(known), dtype=np.int32)
    order[by_title] = np.arange(len(known), dtype=np.int32)
    return RawHistory(known[by_title], np.ones(len(known)), order=order)


__all__ = ["LIST", "Asked", "all_ranks", "asked_in", "contexts_of", "ranks_of", "weekly_models"]
