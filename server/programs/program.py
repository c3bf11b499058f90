"""The protocol of what a coordinator runs: questions that may depend on releases, and a public model made of them."""

from collections.abc import Mapping
from typing import Protocol, Self

from backrow.privacy.queries import Query
from backrow.server.programs.base import Answer, FloatArray, ModelTensors, Question
from backrow.server.programs.metrics import ReleasedMetrics
from backrow.server.settings import RunSettings


class Program(Protocol):
    """Immutable: `absorb` returns the next state. Everything in it is post-processing of releases."""

    @property
    def settings(self) -> RunSettings:
        """The public numbers of the run."""
        ...

    def ask(self, query: Query) -> Question:
        """What the devices are sent in the next round."""
        ...

    def public_tensors(self, query: Query) -> Mapping[str, FloatArray]:
        """The tensors that a round asks with; empty for counts."""
        ...

    def absorb(self, query: Query, answer: Answer | None) -> Self:
        """The state after a round; `answer` None: the round was void."""
        ...

    def model(self) -> ModelTensors:
        """The public model after the rounds so far."""
        ...

    def metrics(self) -> ReleasedMetrics | None:
        """What an evaluation says of the model; None if there was none."""
        ...
