"""The whole program of a run: counts, then the trainer's rounds, then the public model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from backrow.privacy.queries import Query, QuerySchema
from backrow.server.programs.base import PUBLISHED, Answer, FactorProgram, FloatArray, ModelTensors, Question
from backrow.server.programs.gradient import GradientProgram
from backrow.server.programs.metrics import ReleasedMetrics, released_metrics
from backrow.server.programs.prior import floored, metadata_factors, popular_direction, starting_factors, with_room
from backrow.server.programs.sequence import SequenceProgram, crossed_factors
from backrow.server.programs.sgd import begin_sgd
from backrow.server.programs.subspace import SubspaceProgram
from backrow.server.settings import RunSettings

COUNTS = (Query.POPULARITY, Query.RECENT)


@dataclass(frozen=True, slots=True)
class ModelProgram:
    """Immutable state of a run's post-processing.

    Attributes:
        settings: the public numbers.
        metadata: shape (titles, rank), from the public catalogue.
        counts: the popularity release, once it is there.
        recent: the recent-counts release, once it is there.
        factors: the trainer's program, once the counts are there; None for `prior`.
        evaluation: the release of the evaluation, once it is there.
    """

    settings: RunSettings
    metadata: FloatArray
    counts: Answer | None = None
    recent: Answer | None = None
    factors: FactorProgram | None = None
    evaluation: Answer | None = None

    @classmethod
    def start(cls, settings: RunSettings, features: FloatArray) -> "ModelProgram":
        """Args: features: public metadata, shape (titles, features), not centred."""
        if len(features) != settings.titles:
            raise ValueError(f"{len(features)} rows of features for {settings.titles} titles")
        if settings.trainer == "sequence":
            return cls(settings, crossed_factors(features))
        metadata = metadata_factors(features)
        return cls(settings, metadata if settings.trainer == "prior" else with_room(metadata))

    def training_schema(self) -> QuerySchema | None:
        """Schema of every training round; it depends on public metadata only."""
        blank = replace(self, counts=Answer(np.ones((self.settings.titles, 1)), 0.0, 0.0))
        program = blank._factor_program()
        return None if program is None else program.schema()

    def ask(self, query: Query) -> Question:
        """What the devices are sent in the next round."""
        question = self._question(query)
        if self.settings.since is None:
            return question
        return replace(question, settings={**question.settings, "since": float(self.settings.since)})

    def _question(self, query: Query) -> Question:
        if query is Query.POPULARITY:
            return Question()
        if query is Query.RECENT:
            return Question(settings={"recent_seconds": float(self.settings.recent_seconds)})
        if query is Query.EVAL:
            model = self.model()
            # As the bundle will hold it: what is measured is what is published.
            tensors = {"factors": model.item_factors, "popularity": model.popularity[:, None]}
            numbers = {"alpha0": model.alpha0, "ridge": model.ridge}
            if model.sequence is not None:
                tensors["embedding"] = model.sequence.embedding
                numbers |= model.sequence.settings
            rounded = {name: tensor.astype(PUBLISHED).astype(np.float64) for name, tensor in tensors.items()}
            return Question(tensors=rounded, settings=numbers)
        assert self.factors is not None, "training rounds follow the counts"
        return self.factors.ask()

    def public_tensors(self, query: Query) -> Mapping[str, FloatArray]:
        """The tensors of the trainer's questions, or those evaluated; empty for the counts."""
        if query is Query.EVAL:
            return self._question(query).tensors
        return self.factors.ask().tensors if query not in COUNTS and self.factors is not None else {}

    def absorb(self, query: Query, answer: Answer | None) -> "ModelProgram":
        """The state after a round; `answer` None: the round was void.

        Without a popularity release every title counts the same.
        """
        if query is Query.POPULARITY:
            counts = answer or Answer(np.ones((self.settings.titles, 1)), 0.0, 0.0)
            counted = replace(self, counts=counts)
            return replace(counted, factors=counted._factor_program())
        if query is Query.RECENT:
            return replace(self, recent=answer)
        if query is Query.EVAL:
            return replace(self, evaluation=answer)
        assert self.factors is not None, "training rounds follow the counts"
        return replace(self, factors=self.factors.absorb(answer))

    def model(self) -> ModelTensors:
        """The public model after the rounds so far."""
        assert self.counts is not None, "there is no model before the popularity round"
        learned = self.factors if isinstance(self.factors, SequenceProgram) else None
        return ModelTensors(
            item_factors=self._prior() if self.factors is None else self.factors.item_factors(),
            popularity=floored(self.counts.values[:, 0]) if learned is None else learned.counts,
            recent=None if self.recent is None else np.maximum(self.recent.values[:, 0], 0.0),
            alpha0=self.settings.alpha0,
            ridge=self.settings.ridge,
            sequence=None if learned is None else learned.contexts(),
        )

    def metrics(self) -> ReleasedMetrics | None:
        """What the evaluation says of the model; None if there was none."""
        return None if self.evaluation is None else released_metrics(self.evaluation, self.settings.population)

    def _prior(self) -> FloatArray:
        assert self.counts is not None
        return starting_factors(self.metadata, floored(self.counts.values[:, 0]))

    def _factor_program(self) -> FactorProgram | None:
        assert self.counts is not None
        settings = self.settings
        match settings.trainer:
            case "prior":
                return None
            case "sequence":
                return SequenceProgram.start(self.metadata, self.counts, settings.population)
            case "subspace":
                return SubspaceProgram.start(self._prior(), popular_direction(self.counts))
            case "gradient" | "opacus" | "opacus-event":
                numbers = {"alpha0": settings.alpha0, "ridge": settings.ridge, **dict(settings.event)}
                return GradientProgram.start(
                    self._prior(),
                    settings.population,
                    settings.rounds,
                    settings.learning_rate,
                    settings.trainer,
                    numbers,
                )
            case "sgd":
                numbers = {"alpha0": settings.alpha0, "ridge": settings.ridge, **dict(settings.event)}
                return begin_sgd(self._prior(), settings.population, settings.rounds, settings.learning_rate, numbers)
        raise ValueError(
            f"unknown trainer {settings.trainer!r}: use sequence, prior, subspace, gradient, "
            "sgd, opacus or opacus-event"
        )
