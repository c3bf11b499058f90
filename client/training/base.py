"""The protocol every trainer follows: public model and raw histories in, clipped block out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import HistoryBlock
from backrow.privacy.clipping import ClippedBlock
from backrow.privacy.plan import RoundPlan
from backrow.privacy.randomness import RandomSource

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NoisedBlock:
    """Sum over a block that already carries its share of floating-point noise (Opacus only).

    Attributes:
        values: shape (titles, columns).
        devices: how many devices it sums.
    """

    values: FloatArray
    devices: int


@dataclass(frozen=True, slots=True)
class TrainingCall:
    """What a trainer is asked: the round's plan and the public tensors and settings it needs.

    Attributes:
        seeds: one for each device of the block, of its own draws; None: they come from the block's randomness.
        users: own factors kept on these devices, shape (devices, columns), zero where there are none yet; a trainer
            that keeps them changes them in place. None: nothing is kept.
    """

    plan: RoundPlan
    tensors: Mapping[str, FloatArray]
    settings: Mapping[str, float]
    seeds: NDArray[np.uint64] | None = None
    users: FloatArray | None = None


class Trainer(Protocol):
    """Computes the answers of a block of devices to one training call. Runs on the device or edge."""

    def answer(self, call: TrainingCall, block: HistoryBlock, random: RandomSource) -> ClippedBlock | NoisedBlock:
        """Answers of the block, each device's L2 norm <= call.plan.query.clip_norm.

        Args:
            call: the public question.
            block: raw histories of 1..64 devices (1 on a real device).
            random: the block's own randomness.
        """
        ...
