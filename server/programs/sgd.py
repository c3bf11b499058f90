"""Program `sgd`: momentum on the mean change that local epochs make to the item factors, from the public prior.

A device answers by how much its item factors shrank, clipped: a gradient of its own kind, so that the steps are those
of the gradient program (Reddi et al. 2021, "Adaptive federated optimization"). With momentum 0 and a learning rate
of `CLIP_NORM` a step adds the plain average of the local changes over the public N (McMahan et al. 2017).
"""

from dataclasses import replace

from backrow.server.programs.base import FloatArray
from backrow.server.programs.gradient import GradientProgram

CLIP_NORM = 0.15
"""One epoch changes the item factors by about so much on MovieLens."""


def begin_sgd(
    prior: FloatArray, population: int, rounds: int, learning_rate: float, settings: dict[str, float]
) -> GradientProgram:
    """Start at the prior, at rest; arguments as `GradientProgram.start`."""
    begun = GradientProgram.start(prior, population, rounds, learning_rate, "sgd", settings)
    return replace(begun, clip_norm=CLIP_NORM)
