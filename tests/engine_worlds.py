"""Populations and questions for the tests of the whole-cohort engine."""

import math
from collections.abc import Callable

import numpy as np

from backrow.client.edge import SimulatedEdge
from backrow.privacy import wire
from backrow.privacy.plan import RoundPlan
from backrow.privacy.queries import Metric, Query
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.simulations.engine.edge import PopulationEdge
from backrow.simulations.population import Population, device_name
from tests import builders

KEY = SigningKey(bytes(32))
SEED = 11
NUMBERS = {"alpha0": 0.4, "ridge": 0.1}
FINE = 2.0**36
"""So many integers per clip norm that rounding cannot be seen."""


def generated(devices: int = 300, titles: int = 60, seed: int = 5) -> Population:
    """Random histories of random weights and order; some devices have none, some watched everything, some withhold."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, titles // 2, devices)
    sizes[::17], sizes[3::41] = 0, titles
    owned = [np.sort(rng.choice(titles, size, replace=False)) for size in sizes]
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    fresh = np.full(devices, -1, dtype=np.int32)
    passed: list[list[int]] = []
    for slot, own in enumerate(owned):
        unknown = np.setdiff1d(np.arange(titles), own)
        passed.append([int(unknown[-1])] if len(unknown) > 2 and slot % 3 == 0 else [])
        if len(unknown) > 2 and slot % 5:
            fresh[slot] = unknown[0]
    no = np.zeros(devices, dtype=np.bool_)
    return Population(
        starts, np.concatenate(owned).astype(np.int32), rng.uniform(0.5, 2.0, int(starts[-1])),
        rng.random(int(starts[-1])) < 0.3, rng.random(devices) < 0.9, fresh,
        np.concatenate([[0], np.cumsum([len(own) for own in passed])]).astype(np.int64),
        np.array([title for own in passed for title in own], dtype=np.int32), no, no,
        np.concatenate([rng.permutation(size) for size in sizes]).astype(np.int32),
    )  # fmt: skip


def question(trainer: str, titles: int, population: int, *, columns: int = 6, fine: bool = True) -> wire.RoundCall:
    """One round's call to a trainer, or to a count; clip norms that bind for some devices and not for others."""
    rng = np.random.default_rng(3)
    factors = rng.normal(size=(titles, columns)) * 0.3
    tensors: dict[str, np.ndarray] = {}
    settings: dict[str, float] = {}
    match trainer:
        case "popularity" | "recent":
            query, columns, clip_norm = Query(trainer), 1, 1.0
        case "subspace":
            query, clip_norm = Query.SUBSPACE, 0.2
            direction = np.abs(factors[:, :1]) / np.linalg.norm(factors[:, 0])
            basis, _ = np.linalg.qr(factors - direction @ (direction.T @ factors))
            tensors = {"deflation": direction, "basis": basis}
        case "eval":
            query, clip_norm, columns = Query.EVAL, math.sqrt(len(Metric)), 1
            tensors, settings = {"factors": factors, "popularity": np.arange(titles)[::-1, None] / 2.0}, NUMBERS
        case "sequence":
            query, clip_norm = Query.SEQUENCE, 1.0
            tensors, settings = {"embedding": factors}, {"decay": 0.7, "window": 5.0, "columns": float(columns)}
        case "eval-sequence":  # two embeddings side by side
            query, clip_norm, settings = Query.EVAL, math.sqrt(len(Metric)), {"decay": 0.7, "window": 5.0}
            settings["columns"] = columns / 2
            embedding, columns = rng.normal(size=(titles, columns)), 1
            popularity = np.arange(titles)[::-1, None] / 40.0
            tensors = {"factors": factors, "embedding": embedding, "popularity": popularity}
        case _:
            query, clip_norm = Query.GRADIENT, 6.0 if trainer == "gradient" else 0.15
            tensors, settings = {"factors": factors}, NUMBERS
            local = {"learning_rate": 0.02, "batch": 4, "negatives": 3, "epochs": 2}
            settings = settings | {f"sgd_{name}": float(value) for name, value in local.items()}
    scale = 2.0 ** round(np.log2((FINE if fine else 2.0**24) / clip_norm))
    rows = len(Metric) if query is Query.EVAL else titles
    made: RoundPlan = builders.plan(
        query, rows, columns, clip_norm=clip_norm, scale=scale, population=population, number=4
    )
    return wire.RoundCall(made, trainer, population, (), tensors, settings)


def random(purpose: str, number: int, index: int) -> RandomSource:
    return SeededRandom(SEED, purpose, number, index)


def whole(population: Population, slots: np.ndarray, workers: int = 1) -> PopulationEdge:
    return PopulationEdge(population, slots, KEY.public, random, workers)


def one_by_one(population: Population, slots: np.ndarray) -> SimulatedEdge:
    mine = [int(slot) for slot in slots]
    histories = [population.history(slot) for slot in mine]
    return SimulatedEdge([device_name(slot) for slot in mine], mine, histories, KEY.public, random)


def asked(call: wire.RoundCall, slots: np.ndarray) -> bytes:
    """The call as the coordinator sends it to the host of these devices."""
    return wire.encode_signed(_for(call, slots), KEY)


def integers(answer: Callable[[bytes], bytes], call: wire.RoundCall, slots: np.ndarray) -> np.ndarray:
    """What an edge answers."""
    reply = wire.decode(answer(asked(call, slots)))
    assert isinstance(reply, wire.BlindSum)
    assert reply.participants == len(slots)
    return reply.values


def _for(call: wire.RoundCall, slots: np.ndarray) -> wire.RoundCall:
    from dataclasses import replace

    return replace(call, devices=tuple(device_name(int(slot)) for slot in slots))
