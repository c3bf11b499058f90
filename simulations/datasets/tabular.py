"""Any Parquet or CSV file with the columns user, item, timestamp and, if there are any, ratings or play counts."""

import difflib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.catalogue import without_metadata
from backrow.simulations.datasets.dataset import Dataset, IntArray, RawRatings, checked

ALIASES: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "uid", "viewer", "viewer_id"),
    "item": ("item", "item_id", "itemid", "movie_id", "movieid", "title_id", "titleid"),
    "timestamp": ("timestamp", "ts", "time", "unix_timestamp"),
    "rating": ("rating", "stars"),
    "count": ("count", "plays", "play_count", "playcount"),
}
"""Accepted names of each column, compared in lower case; two of them in one file are refused."""

_PANDAS_INDEX = "__index_level_0__"
_CSV_SUFFIXES = {".csv": ",", ".tsv": "\t"}
_PARQUET_SUFFIXES = (".parquet", ".pq")
_OPTIONAL = ("rating", "count")
SUFFIXES = (*_CSV_SUFFIXES, *_PARQUET_SUFFIXES)
LOWEST, HIGHEST = 0.5, 5.0


def read(path: Path, now: int | None) -> Dataset:
    """Read and check a file.

    Args:
        path: ends in .csv, .tsv (both may be followed by .gz), .parquet or .pq; a header row names the columns.
            The user and item columns hold integers or text; timestamps are Unix seconds or of a date type;
            ratings outside 0.5..5 are mapped linearly onto it, with a warning; a count says how many viewings a row
            stands for. In a file without ratings, rows that repeat are viewings too.
        now: Unix seconds; later timestamps are refused. None: not checked.

    Returns:
        A data set whose viewers and titles are in order of first appearance.

    Raises:
        DataError: no such file, unreadable, wrong columns, or what `dataset.checked` refuses.
    """
    table = _table(path)
    column = _columns(path.name, table.column_names)
    viewers, user = _coded(path.name, "user", table.column(column["user"]))
    titles, title = _coded(path.name, "item", table.column(column["item"]))
    timestamp = _seconds(path.name, table.column(column["timestamp"]))
    rating: NDArray[np.float32] | None = None
    warnings: tuple[str, ...] = ()
    if "rating" in column:
        rating, warnings = _stars(path.name, _numbers(path.name, "rating", table.column(column["rating"])))
    plays = _numbers(path.name, "count", table.column(column["count"])) if "count" in column else None
    raw = RawRatings(viewers, titles, user, title, timestamp, rating, plays=plays)
    dataset = checked(path.name, f"the file {path.name}", raw, without_metadata(titles), "rated", now)
    ordered = not pa.types.is_date(table.column(column["timestamp"]).type)
    return replace(dataset, warnings=(*warnings, *dataset.warnings), ordered=ordered)


def _table(path: Path) -> pa.Table:
    suffix = Path(path.stem).suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path} is neither CSV nor Parquet by its name: use one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"there is no file {path}: check the path")
    try:
        if suffix in _PARQUET_SUFFIXES:
            return pyarrow.parquet.read_table(path)
        names = pyarrow.csv.open_csv(path, parse_options=_csv(suffix)).schema.names
        # Ids stay text: "007" and "7" are two viewers.
        as_text = {name: pa.string() for name in names if name.lower() in (*ALIASES["user"], *ALIASES["item"])}
        convert = pyarrow.csv.ConvertOptions(column_types=as_text, strings_can_be_null=True, null_values=[""])
        return pyarrow.csv.read_csv(path, parse_options=_csv(suffix), convert_options=convert)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty: it needs a header row and interactions") from error
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0]}; check that it is complete") from error


def _csv(suffix: str) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(delimiter=_CSV_SUFFIXES[suffix])


def _columns(name: str, found: list[str]) -> dict[str, str]:
    """Role (user, item, timestamp, rating, count) -> the file's column."""
    listed = ", ".join(repr(column) for column in found)
    roles: dict[str, str] = {}
    for role, aliases in ALIASES.items():
        named = [column for column in found if column.lower() in aliases]
        if len(named) > 1:
            raise DataError(f"{name} has {len(named)} columns for the {role} ({', '.join(named)}): keep one of them")
        if named:
            roles[role] = named[0]
        elif role not in _OPTIONAL:
            raise DataError(f"{name} has no {role} column (found: {listed}); call it one of {', '.join(aliases)}")
    if "rating" in roles and "count" in roles:
        raise DataError(f"{name} has ratings and counts: keep the one that says what its viewers like")
    unknown = [column for column in found if column not in roles.values() and column != _PANDAS_INDEX]
    if unknown:
        known = [alias for role, aliases in ALIASES.items() if role not in roles for alias in aliases]
        close = difflib.get_close_matches(unknown[0].lower(), known, n=1)
        meant = f"; did you mean {close[0]!r} by {unknown[0]!r}?" if close else ""
        raise DataError(
            f"{name} has columns backrow does not know ({', '.join(map(repr, unknown))}; found: {listed}): "
            f"keep user, item, timestamp and, if there is one, rating or count{meant}"
        )
    return roles


def _coded(name: str, role: str, column: pa.ChunkedArray) -> tuple[tuple[str, ...], IntArray]:
    if column.null_count:
        raise DataError(f"{name} has {column.null_count} rows without a {role}: remove them")
    values = column.combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kinds = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    if not any(kind(values.type) for kind in kinds):
        raise DataError(f"{name}: the {role} column is {values.type}; it must hold integers or text")
    coded = values.dictionary_encode()
    ids = tuple(str(value) for value in coded.dictionary.to_pylist())
    return ids, coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def _seconds(name: str, column: pa.ChunkedArray) -> NDArray[np.int64]:
    if column.null_count:
        raise DataError(f"{name} has {column.null_count} rows without a timestamp: remove them")
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(column.type):
        ticks = column.cast(pa.int64()).to_numpy()
        per_second = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[column.type.unit]
        return np.asarray(ticks // per_second, dtype=np.int64)
    numbers = _numbers(name, "timestamp", column)
    if not np.all(np.isfinite(numbers)):
        raise DataError(f"{name} has timestamps that are NaN or infinite: give Unix seconds (UTC, since 1970)")
    return np.floor(np.clip(numbers, -(2.0**62), 2.0**62)).astype(np.int64)


def _numbers(name: str, role: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Doubles; exact for seconds up to 2^53. Empty cells become NaN."""
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise DataError(f"{name}: the {role} column is {column.type}, not numbers: look for stray text in it")
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _stars(name: str, rating: NDArray[np.float64]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Ratings as stars; another scale is mapped onto 0.5..5 (NaN and infinity pass, to be refused by `checked`)."""
    if not (len(rating) and np.all(np.isfinite(rating))):
        return rating.astype(np.float32), ()
    low, high = float(rating.min()), float(rating.max())
    if low >= LOWEST and high <= HIGHEST:
        return rating.astype(np.float32), ()
    share = (rating - low) / (high - low) if high > low else np.ones(len(rating))
    mapped = f"mapped linearly onto {LOWEST:g}..{HIGHEST:g} stars"
    warning = f"{name}: ratings run from {low:g} to {high:g}; they were {mapped}"
    return (LOWEST + (HIGHEST - LOWEST) * share).astype(np.float32), (warning,)
