"""What is learned from and what is asked about: leave-one-out splits."""

import lzma
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import DataError
from backrow.privacy.randomness import Purpose, SeededRandom
from backrow.simulations.datasets.dataset import Dataset, Interactions, latest
from backrow.simulations.datasets.fetch import DATA_VARIABLE, data_folder

IntArray = NDArray[np.int32]
SplitKind = Literal["auto", "ncf", "last"]

NEGATIVES = 99
FEWEST_TITLES = 3
"""A viewer needs one title to learn from, one to tune on and one to be asked about."""

_NCF_DATASET, _NCF_VIEWERS, _NCF_TITLES = "ml-1m", 6040, 3706
_NCF_TEST, _NCF_NEGATIVES = "ml-1m.test.rating", "ml-1m.test.negative.xz"


@dataclass(frozen=True)
class Split:
    """One held-out title per viewer.

    Attributes:
        name: "ncf" or "last"; a tuning view adds "-tuning".
        titles: size of the catalogue.
        train: what models learn from. Final runs learn from all of it, the validation titles included.
        validation: shape (viewers,), a title of `train` that tuning holds out; -1 none.
        test: shape (viewers,), the title asked about; -1 none. Never in `train`.
        negatives: shape (viewers, 99), titles to tell the test title from in the NCF protocol; -1 fills up where the
            catalogue holds too few, and rows of viewers without a test title. None: the split has none.
    """

    name: str
    titles: int
    train: Interactions
    validation: IntArray
    test: IntArray
    negatives: IntArray | None

    def __post_init__(self) -> None:
        if np.any(self.train.title == self.test[self.train.user]):
            raise ValueError("a test title is in the training set of its own viewer: the split leaks")

    @property
    def viewers(self) -> int:
        """How many there are, with or without a test title."""
        return len(self.test)


def make_split(dataset: Dataset, kind: SplitKind = "auto", seed: int = 0) -> Split:
    """Hold out one title per viewer.

    "ncf": the published test titles and negatives of He et al. 2017, "Neural collaborative filtering", for
    MovieLens 1M with the rated catalogue. For 156 viewers the test title is among its own negatives: left as
    published. "last": each viewer's last title in time (`Interactions.rank`, else timestamp, then file row); 99
    negatives are drawn uniformly without replacement from the titles that are neither in the viewer's training set
    nor the test title itself; nothing else that is held out is known to the draw. Where viewings repeat, the test title
    is the one that was new to the viewer last, and everything from there on is left out of training: what was watched
    before is nothing to recommend, and what came later is not known yet. "auto": "ncf" where its files are at hand and
    fit, else "last". In each, the validation title is the last in time of the training set (where viewings repeat, the
    last that was new), and viewers with fewer than 3 titles are learned from but neither tuned on nor asked about.

    Args:
        dataset: what to split.
        kind: see above.
        seed: of the negatives of "last"; every viewer has a stream of its own.

    Raises:
        DataError: "ncf" for another data set, or without its files.
    """
    obstacle = None if kind == "last" else _ncf_obstacle(dataset)
    if kind == "ncf" and obstacle is not None:
        raise DataError(obstacle)
    if kind == "last" or obstacle is not None:
        return _last(dataset, seed)
    return _ncf(dataset)


def tuning_view(split: Split, seed: int = 0) -> Split:
    """The split that hyper-parameters are chosen on: it asks about the validation titles and holds no test title.

    Negatives are drawn as for "last", from everything outside this view's own training set: the real test titles are
    as likely to be drawn as any other title, so nothing about them can be learned from this view.
    """
    kept = split.train.take(split.validation[split.train.user] != split.train.title)
    nothing = np.full(split.viewers, -1, dtype=np.int32)
    view = Split(f"{split.name}-tuning", split.titles, kept, nothing, split.validation, None)
    return with_negatives(view, seed)


def _last(dataset: Dataset, seed: int) -> Split:
    if dataset.viewings is not None:
        return with_negatives(_last_new(dataset, dataset.viewings), seed)
    rows, viewers = dataset.interactions, len(dataset.viewers)
    test_row = _last_rows(rows, viewers)
    test_row[np.bincount(rows.user, minlength=viewers) < FEWEST_TITLES] = -1
    return with_negatives(_held_out("last", dataset, test_row), seed)


def _last_new(dataset: Dataset, viewings: Interactions) -> Split:
    """Holds out the title that was new last: one that had been watched before is nothing to recommend."""
    viewers, titles = len(dataset.viewers), len(dataset.catalogue)
    viewings = viewings.take(viewings.chronological())
    pair = viewings.user.astype(np.int64) * titles + viewings.title
    new = np.sort(np.unique(pair, return_index=True)[1])  # rows, by viewer and time
    ends = np.searchsorted(viewings.user[new], np.arange(viewers + 1))
    asked = np.diff(ends) >= FEWEST_TITLES
    held_out = np.where(asked, new[np.maximum(ends[1:] - 1, 0)], len(viewings))
    before = np.arange(len(viewings)) < held_out[viewings.user]
    test = np.full(viewers, -1, dtype=np.int32)
    validation = test.copy()
    test[asked] = viewings.title[held_out[asked]]
    validation[asked] = viewings.title[new[ends[1:][asked] - 2]]
    return Split("last", titles, latest(viewings.take(before), titles), validation, test, None)


def _held_out(name: str, dataset: Dataset, test_row: NDArray[np.intp]) -> Split:
    """The split without the given rows (-1: that viewer has none)."""
    rows, viewers = dataset.interactions, len(dataset.viewers)
    asked = test_row >= 0
    keep = np.ones(len(rows), dtype=np.bool_)
    keep[test_row[asked]] = False
    train = rows.take(keep)
    test = np.where(asked, rows.title[test_row], -1).astype(np.int32)
    validation = np.where(asked, train.title[_last_rows(train, viewers)], -1).astype(np.int32)
    return Split(name, len(dataset.catalogue), train, validation, test, None)


def _last_rows(rows: Interactions, viewers: int) -> NDArray[np.intp]:
    """Each viewer's last row in time, shape (viewers,); -1 without rows."""
    order = rows.chronological()
    last = np.full(viewers, -1, dtype=np.intp)
    ends = np.flatnonzero(np.diff(rows.user[order], append=np.int32(viewers)))
    last[rows.user[order[ends]]] = order[ends]
    return last


def with_negatives(split: Split, seed: int) -> Split:
    """The split with 99 negatives for every viewer with a test title, drawn as for "last"."""
    watched = split.train.matrix(split.viewers, split.titles)
    negatives = np.full((split.viewers, NEGATIVES), -1, dtype=np.int32)
    for viewer in np.flatnonzero(split.test >= 0):
        free = np.ones(split.titles, dtype=np.bool_)
        free[watched.indices[watched.indptr[viewer] : watched.indptr[viewer + 1]]] = False
        free[split.test[viewer]] = False
        candidates = np.flatnonzero(free)
        random = SeededRandom(seed, Purpose.SPLIT, split.name, int(viewer)).numpy()
        drawn = random.choice(candidates, size=min(NEGATIVES, len(candidates)), replace=False)
        negatives[viewer, : len(drawn)] = drawn
    return replace(split, negatives=negatives)


def _ncf_folder() -> Path | None:
    folder = data_folder()
    if folder is None or not all((folder / "ml-1m" / file).is_file() for file in (_NCF_TEST, _NCF_NEGATIVES)):
        return None
    return folder / "ml-1m"


def _ncf_obstacle(dataset: Dataset) -> str | None:
    """Why the data set cannot be split as published; None if it can."""
    if dataset.name != _NCF_DATASET:
        return f"the split 'ncf' is published for {_NCF_DATASET} only, not for {dataset.name}: use 'last'"
    if (len(dataset.viewers), len(dataset.catalogue)) != (_NCF_VIEWERS, _NCF_TITLES):
        return f"the split 'ncf' numbers the {_NCF_TITLES} rated titles: load {_NCF_DATASET} with catalogue='rated'"
    if _ncf_folder() is None:
        return (
            f"the split 'ncf' needs {_NCF_TEST} and {_NCF_NEGATIVES} in the folder {_NCF_DATASET} of {DATA_VARIABLE}: "
            "put them there or use 'last'"
        )
    return None


def _ncf(dataset: Dataset) -> Split:
    folder = _ncf_folder()
    assert folder is not None, "checked by _ncf_obstacle"
    rows = dataset.interactions
    try:
        test = np.loadtxt(folder / _NCF_TEST, dtype=np.int64, delimiter="\t", usecols=(0, 1))
        with lzma.open(folder / _NCF_NEGATIVES, "rt", encoding="ascii") as lines:
            # The first field is the pair "(user,title)" itself.
            negatives = np.array([line.split("\t")[1:] for line in lines], dtype=np.int32)
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise DataError(
            f"the files of the split 'ncf' cannot be read ({error}): get them anew or use 'last'"
        ) from error
    pair = rows.user.astype(np.int64) * _NCF_TITLES + rows.title
    wanted = test[:, 0] * _NCF_TITLES + test[:, 1]
    order = np.argsort(pair)
    test_row = order[np.minimum(np.searchsorted(pair, wanted, sorter=order), len(order) - 1)]
    fits = np.array_equal(test[:, 0], np.arange(_NCF_VIEWERS)) and np.array_equal(pair[test_row], wanted)
    if (
        not fits
        or negatives.shape != (_NCF_VIEWERS, NEGATIVES)
        or not 0 <= negatives.min() <= negatives.max() < _NCF_TITLES
    ):
        raise DataError(
            f"the files of the split 'ncf' do not fit {_NCF_DATASET} as loaded: get both anew or use 'last'"
        )
    return replace(_held_out("ncf", dataset, test_row), negatives=negatives)
