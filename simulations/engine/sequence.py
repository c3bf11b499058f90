"""Trainer `sequence`, and the evaluation of its models: what the kernels are given (client/sequence.py)."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from backrow.client.sequence import Memory
from backrow.privacy.wire import RoundCall
from backrow.simulations.engine import plain_sequence
from backrow.simulations.engine.shard import FloatArray, Shard, Slots, Work

Solve = Callable[[Slots, FloatArray], None]
"""(slots, what each device multiplies the factors with: shape (slots, columns), written)."""


def contexts_work(call: RoundCall, shard: Shard, bound: float, using: ModuleType) -> Work:
    """As client/training/sequence.py.

    Args:
        bound: that every answer is scaled to.

    Raises:
        KeyError: a setting is missing.
        ValueError: the embedding has another shape than the answer, or a setting is out of range.
    """
    query, memory, scale = call.plan.query, Memory.of(call.settings), call.plan.scale
    embedding = _plain(call.tensors["embedding"])
    if embedding.shape != (query.rows, query.columns) or memory.columns != query.columns:
        raise ValueError("an embedding of as many rows and columns as the answer is needed, in one part")
    history, heavy = (shard.starts, shard.titles, shard.weights, shard.order), _heavy(memory)

    def train(slots: Slots, place: slice, total: FloatArray, norms: FloatArray) -> None:
        using.sequence(slots, *history, embedding, heavy, bound, scale, total, norms)

    return train


def contexts_solve(
    call: RoundCall, shard: Shard, factors: FloatArray, popular: FloatArray, using: ModuleType
) -> tuple[FloatArray, Solve]:
    """Factors whose product with what a device solves is popularity + item factors times its context of now.

    Args:
        factors: item factors, shape (titles, columns of the embedding).
        popular: shape (titles,).

    Raises: as `contexts_work`.
    """
    embedding, memory = _plain(call.tensors["embedding"]), Memory.of(call.settings)
    if embedding.shape != factors.shape or embedding.shape[1] % memory.columns:
        raise ValueError(
            f"an embedding of shape {embedding.shape} does not fit the model and parts of {memory.columns}"
        )
    history, heavy = (shard.starts, shard.titles, shard.weights, shard.order), _heavy(memory)
    wide = _plain(np.column_stack([factors, popular]))

    def solve(slots: Slots, users: FloatArray) -> None:
        own = np.empty((len(slots), embedding.shape[1]))
        using.now(slots, *history, embedding, heavy, memory.columns, own)
        users[:, :-1], users[:, -1] = own, 1.0

    return wide, solve


def contexts_now(embedding: FloatArray, memory: Memory, shard: Shard, slots: NDArray[np.integer]) -> FloatArray:
    """The contexts of now of some devices, shape (slots, embedding's columns), as each of them makes its own.

    Raises:
        ValueError: a watched title is not a row of `embedding`.
    """
    made = np.empty((len(slots), embedding.shape[1]))
    history = (shard.starts, shard.titles, shard.weights, shard.order)
    plain_sequence.now(np.asarray(slots, dtype=np.int64), *history, embedding, _heavy(memory), memory.columns, made)
    if not np.all(np.isfinite(made)):
        raise ValueError(f"a watched title is not among the model's {len(embedding)} titles")
    return made


def _heavy(memory: Memory) -> FloatArray:
    """Weight of the title watched 1, 2, ... before, as client/sequence.py has it."""
    return np.array([memory.decay**back for back in range(memory.window)])


def _plain(tensor: NDArray[np.floating]) -> FloatArray:
    """Of one kind, so that a kernel is compiled once."""
    matrix = np.ascontiguousarray(tensor, dtype=np.float64).view()
    matrix.flags.writeable = False
    return matrix
