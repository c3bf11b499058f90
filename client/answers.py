"""From a call and raw histories to integers: clip, scale, round. Runs on the device or the edge it trusts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backrow.client.history import HistoryBlock, RawHistory
from backrow.client.training.base import NoisedBlock, TrainingCall
from backrow.client.training.registry import trainer_for
from backrow.privacy.clipping import ClippedBlock
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Noise, RoundPlan
from backrow.privacy.quantise import Rounding, quantise, quantise_block, round_sum
from backrow.privacy.randomness import RandomSource
from backrow.privacy.shares import add_share
from backrow.privacy.wire import IntArray, RoundCall

FloatArray = NDArray[np.float64]

BLOCK = 64
"""Devices per block. Blocks are fixed by enrolment slot, so results do not depend on who hosts them."""


def answer_device(call: RoundCall, history: RawHistory, random: RandomSource) -> IntArray:
    """One device's answer as integers, shape (rows, columns), its share of the noise added if the plan asks for one.

    Without the share, its norm is at most the plan's integer sensitivity.

    Raises:
        RefusedCallError: the plan sums blocks in the clear, which only a simulation may.
    """
    if adds_blocks(call.plan):
        raise RefusedCallError("this plan adds answers before rounding them: a device outside a simulation refuses it")
    answer = _train(call, [history], random)
    if isinstance(answer, NoisedBlock):
        raise RefusedCallError("this trainer answers with a block's sum: a device outside a simulation refuses it")
    rounded = quantise(answer.device(0), call.plan.scale, call.plan.rounding, random)
    if call.plan.noise is not Noise.SHARES:
        return rounded.values
    return add_share(rounded, call.plan.share_sampler(), random).values


def adds_blocks(plan: RoundPlan) -> bool:
    """Whether answers are added in blocks before they are rounded or noised, which only a simulation may do."""
    return plan.rounding is Rounding.BLOCK_NEAREST or plan.noise is Noise.BLOCK


def answer_block(
    call: RoundCall,
    block: HistoryBlock,
    random: RandomSource,
    seeds: NDArray[np.uint64] | None = None,
    users: FloatArray | None = None,
) -> IntArray:
    """Integer sum of the answers of up to 64 hosted devices, shape (titles, columns), for a plan that adds blocks.

    Args:
        call: the round's question.
        block: their raw histories.
        random: the block's randomness (training).
        seeds, users: as `TrainingCall`.
    """
    answer = _train(call, block, random, seeds, users)
    if isinstance(answer, NoisedBlock):
        return round_sum(answer.values, call.plan.scale)
    return quantise_block(answer, call.plan.scale).values


def titles_of(call: RoundCall) -> int | None:
    """How many titles a call is about: its rows; of an evaluation, whose rows are metrics, those of its tensors."""
    if call.plan.query.over_titles:
        return call.plan.query.titles
    rows = {tensor.shape[:1] for tensor in call.tensors.values()}
    return next(iter(rows.pop()), None) if len(rows) == 1 else None


def since_of(call: RoundCall) -> int | None:
    """Unix seconds from which on events are not part of the answer; None: all are.

    Raises:
        LookupError: an evaluation that names none.
    """
    since = call.settings.get("since") if call.plan.query.over_titles else call.settings["since"]
    return None if since is None else int(since)


def split_blocks(slots: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Group ascending enrolment slots into fixed blocks: (block number, positions in `slots`)."""
    blocks: dict[int, list[int]] = {}
    for position, slot in enumerate(slots):
        blocks.setdefault(slot // BLOCK, []).append(position)
    return sorted(blocks.items())


def _train(
    call: RoundCall,
    block: HistoryBlock,
    random: RandomSource,
    seeds: NDArray[np.uint64] | None = None,
    users: FloatArray | None = None,
) -> ClippedBlock | NoisedBlock:
    trainer = trainer_for(call.plan.query.query, call.trainer)
    return trainer.answer(TrainingCall(call.plan, call.tensors, call.settings, seeds, users), block, random)
