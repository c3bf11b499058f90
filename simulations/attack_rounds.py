"""A run as its strongest attacker sees it: every release, and every device but the targets.

The rounds are the coordinator's own (plan, answers, sum, noise, program) without Flower; a test holds the
released bits against `training.train`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backrow.client.answers import adds_blocks, answer_block, answer_device, split_blocks
from backrow.client.history import RawHistory
from backrow.privacy.clipping import OuterBlock
from backrow.privacy.errors import ScenarioError
from backrow.privacy.plan import Noise, RoundPlan
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.wire import BlindSum, IntArray, RoundCall
from backrow.server.cohort import Cohort
from backrow.server.programs.base import Answer, Question
from backrow.server.programs.model import ModelProgram
from backrow.server.questions import with_sentinel_rows
from backrow.server.receipts import Reservation
from backrow.server.round import OpenRound, RoundSum, Void
from backrow.simulations.attack_scores import Evidence
from backrow.simulations.pipeline import Committed
from backrow.simulations.population import device_name

BoolArray = NDArray[np.bool_]
Int64Array = NDArray[np.int64]
EDGE = 1


@dataclass(frozen=True, slots=True)
class Hosted:
    """Granting devices, ascending by slot, as one edge hosts them."""

    slots: Sequence[int]
    histories: Sequence[RawHistory]


class Targets(Protocol):
    """Devices that take part in any case, each with its answer or with zeros, by its own fair coin."""

    @property
    def included(self) -> BoolArray:
        """The coins, shape (targets,)."""
        ...

    def devices(self, hosted: Hosted, included: BoolArray) -> Hosted:
        """The hosted devices, the targets with these coins among them (or with zeros, if they are crafted)."""
        ...

    def answers(self, call: RoundCall, random: RandomSource) -> OuterBlock:
        """What every target answers if it is included."""
        ...

    def crafted(self, plan: RoundPlan, answers: OuterBlock) -> IntArray | None:
        """Integers that included targets add to the sum beside what `devices` answer."""
        ...

    def silent(self, answers: OuterBlock, residual: Int64Array) -> Int64Array:
        """Coordinates of the residual that are pure noise, if the attacker knows such."""
        ...


@dataclass(frozen=True, slots=True)
class Attacked:
    """What the attacker holds after the run.

    Attributes:
        evidence: of all released sums about the coins.
        silent: per release, coordinates that are pure noise (integers; sentinels first) and the claimed standard
            deviation.
        program: its last state, with the released model.
    """

    evidence: Evidence
    silent: tuple[tuple[list[int], float], ...]
    program: ModelProgram


def attacked_run(
    committed: Committed, hosted: Hosted, targets: Targets, *, seed: int, noise_factor: float = 1.0
) -> Attacked:
    """Run the committed schedule with targets, and collect what the releases show about them.

    Args:
        hosted: every granting device, the targets among them.
        seed: of the run; the noise is that of `training.train` with the same seed.
        noise_factor: share of the claimed noise that is really added: 1 is honest, less is the control that
            an audit must catch.

    Raises:
        ScenarioError: too few devices for the committed minimum.
    """
    program, coins = committed.program, targets.included
    evidence, silent = Evidence.empty(len(coins)), []
    nobody = targets.devices(hosted, np.zeros_like(coins))
    running = targets.devices(hosted, coins)
    names = tuple(device_name(slot) for slot in hosted.slots)
    for plan in committed.schedule.rounds:
        question = program.ask(plan.query.query)
        call = _call(replace(plan, noise_multiplier=plan.noise_multiplier * noise_factor), question, names, committed)
        answers = targets.answers(_without_noise(call), SeededRandom(seed, "train-target", plan.round))
        total = _sum(call, running, seed)
        extra = targets.crafted(plan, answers)
        # A sum that carries no noise yet and no target is what everybody else answered.
        alone = extra is not None and plan.noise is Noise.ONCE
        known = total if alone else _sum(_without_noise(call), nobody, seed)
        total = total if extra is None else total + extra
        closed = _noised(call.plan, total, names, SeededRandom(seed, "noise", plan.round))
        residual = closed.noisy - known
        evidence = evidence.add(answers, residual / plan.scale, plan.noise_scale)
        raw = [*closed.sentinels, *(int(value) for value in targets.silent(answers, residual))]
        if plan.noise_multiplier > 0 and raw:
            silent.append((raw, plan.noise_scale * plan.scale))
        program = program.absorb(plan.query.query, Answer(closed.values, plan.noise_scale, plan.noise_multiplier))
    return Attacked(evidence, tuple(silent), program)


def reference_run(committed: Committed, hosted: Hosted, *, seed: int) -> ModelProgram:
    """The same rounds over these devices without noise: what the attacker computes from those she knows."""
    program = committed.program
    names = tuple(device_name(slot) for slot in hosted.slots)
    for plan in committed.schedule.rounds:
        call = _without_noise(_call(plan, program.ask(plan.query.query), names, committed))
        known = _sum(call, hosted, seed)[: plan.query.titles] / plan.scale
        program = program.absorb(plan.query.query, Answer(known, 0.0, 0.0))
    return program


def _call(plan: RoundPlan, question: Question, names: tuple[str, ...], committed: Committed) -> RoundCall:
    catalogue = committed.settings.catalogue
    tensors = {name: with_sentinel_rows(tensor, plan) for name, tensor in question.tensors.items()}
    return RoundCall(plan, question.trainer, len(names), names, tensors, question.settings, catalogue)


def _without_noise(call: RoundCall) -> RoundCall:
    """The same question to a trainer that clips alike and adds nothing: Opacus' twin is `gradient`."""
    return replace(call, trainer="gradient") if call.trainer == "opacus" else call


def _sum(call: RoundCall, hosted: Hosted, seed: int) -> IntArray:
    """The edge's integer sum, with the randomness of a simulated edge."""
    plan = call.plan
    total = np.zeros((plan.query.rows, plan.query.columns), dtype=np.int64)
    if not adds_blocks(plan):
        for slot, history in zip(hosted.slots, hosted.histories, strict=True):
            total += answer_device(call, history, SeededRandom(seed, "round", plan.round, slot))
        return total
    for block, members in split_blocks(hosted.slots):
        histories = [hosted.histories[member] for member in members]
        total += answer_block(call, histories, SeededRandom(seed, "train", plan.round, block))
    return total


def _noised(plan: RoundPlan, total: IntArray, names: tuple[str, ...], noise: RandomSource) -> RoundSum:
    opened = OpenRound.open(plan, Cohort({EDGE: names}), Reservation(plan.round, 0))
    message = BlindSum(plan.run_id, plan.round, plan.query.query, len(names), total)
    closed = opened.add(EDGE, message).close(noise)
    if isinstance(closed, Void):
        raise ScenarioError(f"round {plan.round} released nothing, so there is nothing to attack: {closed.reason}")
    return closed
