"""Whom an attack is about: crafted canaries, or real viewers. Adjacency zero-out: an excluded one answers zeros."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backrow.client.answers import BLOCK
from backrow.client.history import RawHistory
from backrow.client.training.base import TrainingCall
from backrow.client.training.registry import trainer_for
from backrow.privacy.clipping import OuterBlock, clip_outer
from backrow.privacy.errors import ScenarioError
from backrow.privacy.plan import RoundPlan
from backrow.privacy.quantise import Rounding, quantise, quantise_block
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.wire import IntArray, RoundCall
from backrow.simulations.attack_rounds import BoolArray, Hosted, Int64Array
from backrow.simulations.population import Population

OVERSIZE = 10.0
"""A canary's update before clipping, in clip norms: it is clipping that bounds it, as for everybody else."""


def coins(seed: int, purpose: str, number: int) -> BoolArray:
    """Fair coins, one per target."""
    return np.asarray(SeededRandom(seed, "attack", purpose).numpy().random(number) < 0.5)


def hosted_devices(population: Population) -> Hosted:
    """Every granting device of a population."""
    slots = [int(slot) for slot in np.flatnonzero(population.granted)]
    return Hosted(slots, [population.history(slot) for slot in slots])


def with_empty_devices(population: Population, number: int) -> Population:
    """The population and so many more granting devices that have watched nothing."""
    return replace(
        population,
        starts=np.pad(population.starts, (0, number), mode="edge"),
        granted=np.pad(population.granted, (0, number), constant_values=True),
        opted_out=np.pad(population.opted_out, (0, number)),
        children=np.pad(population.children, (0, number)),
        fresh=np.pad(population.fresh, (0, number), constant_values=-1),
        passed_starts=np.pad(population.passed_starts, (0, number), mode="edge"),
    )


@dataclass(frozen=True, slots=True)
class CraftedCanaries:
    """Devices whose whole clipped update is one coordinate, another for every canary (Dirac canaries).

    Nothing shows a device more clearly: the strongest test of the sums. Each canary is a device that has watched
    nothing; an included one sends its crafted update instead of zeros. Where rows are not titles (an evaluation's
    few metrics) there is no coordinate for each: they are silent there, and that release adds nothing to the bound.

    Attributes:
        included: the coins.
        rows: shape (canaries,), the title of each; all different.
    """

    included: BoolArray
    rows: NDArray[np.int64]
    seed: int

    @classmethod
    def toss(cls, seed: int, canaries: int, titles: int) -> "CraftedCanaries":
        """Coins and coordinates from a seed.

        Raises:
            ScenarioError: more canaries than titles.
        """
        if canaries > titles:
            raise ScenarioError(f"{canaries} canaries need a title each, the catalogue has {titles}: ask for fewer")
        rows = SeededRandom(seed, "attack", "rows").numpy().permutation(titles)[:canaries]
        return cls(coins(seed, "canaries", canaries), rows, seed)

    def devices(self, hosted: Hosted, included: BoolArray) -> Hosted:
        return hosted

    def answers(self, call: RoundCall, random: RandomSource) -> OuterBlock:
        query, everyone = call.plan.query, np.arange(len(self.rows))
        left, right = np.zeros((len(self.rows), query.rows)), np.zeros((len(self.rows), query.columns))
        if not query.over_titles:
            return clip_outer(left, right, query.clip_norm)
        left[everyone, self.rows] = OVERSIZE * query.clip_norm
        columns = SeededRandom(self.seed, "attack", "columns", call.plan.round).numpy()
        right[everyone, columns.integers(query.columns, size=len(self.rows))] = 1.0
        return clip_outer(left, right, query.clip_norm)

    def crafted(self, plan: RoundPlan, answers: OuterBlock) -> IntArray | None:
        total = np.zeros((plan.query.rows, plan.query.columns), dtype=np.int64)
        chosen = np.flatnonzero(self.included)
        if plan.rounding is Rounding.BLOCK_NEAREST:
            for start in range(0, len(chosen), BLOCK):
                total += quantise_block(_part(answers, chosen[start : start + BLOCK]), plan.scale).values
            return total
        for index in chosen:
            random = SeededRandom(self.seed, "attack", "rounding", plan.round, int(index))
            total += quantise(answers.device(int(index)), plan.scale, plan.rounding, random).values
        return total

    def silent(self, answers: OuterBlock, residual: Int64Array) -> Int64Array:
        """The coordinates of excluded canaries: everybody else is known, so what is left is noise."""
        out = np.flatnonzero(~self.included & np.any(answers.left, axis=1))
        return np.asarray(residual[self.rows[out], np.argmax(np.abs(answers.right[out]), axis=1)])


@dataclass(frozen=True, slots=True)
class Viewers:
    """Real viewers of the data, each included or answering zeros.

    Attributes:
        included: the coins.
        positions: shape (targets,), ascending, where they are among the hosted devices.
        histories: theirs.
    """

    included: BoolArray
    positions: NDArray[np.int64]
    histories: Sequence[RawHistory]

    @classmethod
    def choose(cls, seed: int, number: int, hosted: Hosted) -> "Viewers":
        """So many viewers with a history, at most half of all, so that the attacker knows the other half.

        Raises:
            ScenarioError: fewer than four can be chosen.
        """
        watched = [position for position, history in enumerate(hosted.histories) if len(history)]
        number = min(number, len(watched) // 2)
        if number < 4:
            raise ScenarioError(f"{len(watched)} granting viewers have a history: too few to attack")
        chosen = SeededRandom(seed, "attack", "viewers").numpy().choice(watched, size=number, replace=False)
        positions = np.sort(chosen)
        histories = [hosted.histories[position] for position in positions]
        return cls(coins(seed, "viewers", number), positions, histories)

    def devices(self, hosted: Hosted, included: BoolArray) -> Hosted:
        histories = list(hosted.histories)
        for position in self.positions[~included]:
            histories[position] = RawHistory(np.zeros(0, np.int32), np.zeros(0))
        return Hosted(hosted.slots, histories)

    def answers(self, call: RoundCall, random: RandomSource) -> OuterBlock:
        """Raises: ScenarioError: the trainer answers in another form than an outer product."""
        trainer = trainer_for(call.plan.query.query, call.trainer)
        block = trainer.answer(TrainingCall(call.plan, call.tensors, call.settings), self.histories, random)
        if not isinstance(block, OuterBlock):
            raise ScenarioError(
                f"trainer {call.trainer!r} has no answer that an attacker can recompute: attack a run of another "
                "trainer (--set trainer=gradient)"
            )
        return block

    def crafted(self, plan: RoundPlan, answers: OuterBlock) -> IntArray | None:
        return None

    def silent(self, answers: OuterBlock, residual: Int64Array) -> Int64Array:
        return np.zeros(0, dtype=np.int64)


def _part(block: OuterBlock, chosen: NDArray[np.intp]) -> OuterBlock:
    return OuterBlock(block.left[chosen], block.right[chosen], block.clip_norm)
