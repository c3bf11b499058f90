"""What the cells of one worker share: data loaded and split once; and what names code and data."""

import hashlib
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.randomness import SeededRandom
from backrow.simulations.choice import refuse_orderless
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.pipeline import Prepared, people, prepare
from backrow.simulations.scenario import GENERATED, DataSection, Scenario
from backrow.simulations.splits import Split, make_split, tuning_view

WINGS = ("client", "privacy", "server", "simulations")
SHOWS = ("simulations/study/", "simulations/report/", "privacy/audit/")
"""Folders that show figures and make none: a change there leaves every cell as it is."""


def prepared_for(scenario: Scenario) -> Prepared:
    """As `pipeline.prepare`, with data and split loaded once per process.

    Raises:
        DataError: the data cannot be found or read.
    """
    if scenario.data.name == GENERATED:
        return prepare(scenario)  # memory-mapped, from a cache of its own
    dataset, split = _loaded(scenario.data, scenario.evaluation.tuning)
    refuse_orderless(scenario, dataset)
    return Prepared(dataset, split, people(scenario, dataset, split.train, split.test))


@lru_cache(maxsize=1)
def _loaded(data: DataSection, tuning: bool) -> tuple[Dataset, Split]:
    dataset = load(str(data.name or data.path), catalogue=data.catalogue, now=int(time.time()))
    split = make_split(dataset, data.split)
    return dataset, tuning_view(split) if tuning else split


def forget() -> None:
    """Load anew at the next call: the file may have changed."""
    _loaded.cache_clear()


def data_digest(dataset: Dataset, split: Split, sampled: bool = False) -> str:
    """Names what is learned from and what is asked about; 16 hexadecimal digits.

    Args:
        sampled: every seed asks a sample of its own, which is no part of the name.
    """
    digest = hashlib.sha256(f"{dataset.fingerprint}\n{split.name}\n".encode())
    if sampled:
        return digest.hexdigest()[:16]
    digest.update(split.test.astype("<i4").tobytes())
    if split.negatives is not None:
        digest.update(split.negatives.astype("<i4").tobytes())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=1)
def code_version() -> str:
    """Names the sources that make figures; 16 hexadecimal digits. Another one makes every cell another cell."""
    import backrow.simulations

    (simulations,) = backrow.simulations.__path__
    import backrow.client
    import backrow.privacy
    import backrow.server

    roots = {
        "client": backrow.client.__path__[0],
        "privacy": backrow.privacy.__path__[0],
        "server": backrow.server.__path__[0],
        "simulations": simulations,
    }
    digest = hashlib.sha256()
    for wing, root in sorted(roots.items()):
        for path in sorted(Path(root).rglob("*.py")):
            name = f"{wing}/{path.relative_to(root).as_posix()}"
            if not name.startswith(SHOWS):
                digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def subsample(prepared: Prepared, devices: int, seed: int) -> Prepared:
    """So many devices drawn at random, as a population of its own; the catalogue stays.

    Where models are measured on a sample of the whole, they are on those of it that were drawn.

    Raises:
        ValueError: more devices than there are, or fewer than two.
    """
    population, split = prepared.population, prepared.split
    if not 2 <= devices <= len(population):
        raise ValueError(f"{devices} devices cannot be drawn from {len(population)}")
    random = SeededRandom(seed, "subsample", devices).numpy()
    slots = np.sort(random.choice(len(population), size=devices, replace=False))
    starts, entries = _parts(population.starts, slots)
    passed_starts, passed = _parts(population.passed_starts, slots)
    fewer = replace(
        population, starts=starts, titles=population.titles[entries], weights=_taken(population.weights, entries),
        recent=population.recent[entries], granted=population.granted[slots], fresh=population.fresh[slots],
        passed_starts=passed_starts, passed=population.passed[passed], opted_out=population.opted_out[slots],
        children=population.children[slots], order=None if population.order is None else population.order[entries],
    )  # fmt: skip
    position = np.full(len(population), -1, dtype=np.int32)
    position[slots] = np.arange(devices, dtype=np.int32)
    everybody = prepared.sample is None
    viewers = position if prepared.sample is None else position[prepared.sample]
    rows = np.flatnonzero(viewers >= 0)
    row = np.full(len(viewers), -1, dtype=np.int32)
    row[rows] = np.arange(len(rows), dtype=np.int32)
    train = split.train.take(row[split.train.user] >= 0)
    train = replace(train, user=row[train.user])
    negatives = None if split.negatives is None else split.negatives[rows]
    kept = Split(split.name, split.titles, train, split.validation[rows], split.test[rows], negatives)
    return Prepared(prepared.dataset, kept, fewer, None if everybody else viewers[rows].astype(np.int64))


def _taken(weights: NDArray[np.float64], entries: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights of these entries; one that stands for all of them stays one."""
    return np.broadcast_to(weights[:1], entries.shape) if weights.strides == (0,) else weights[entries]


def _parts(starts: NDArray[np.int64], slots: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """New starts, and the entries of these devices in order."""
    sizes = starts[slots + 1] - starts[slots]
    fresh = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    entries = np.repeat(starts[slots] - fresh[:-1], sizes) + np.arange(fresh[-1])
    return fresh, entries
