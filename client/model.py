"""The public model as a device uses it: read from a verified bundle, checked once, then trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from backrow.client.sequence import Memory
from backrow.client.solve import FloatArray, gram
from backrow.privacy.bundle import Bundle
from backrow.privacy.errors import BundleError


@dataclass(frozen=True, slots=True, eq=False)
class PublicModel:
    """The same for everybody.

    Attributes:
        item_factors: shape (titles, factors).
        popularity: shape (titles,), noisy counts.
        recent: shape (titles,), noisy counts of the recency window, or None.
        alpha0, ridge: of the local solve.
        embedding, memory: what contexts are made of, in a model whose scores are popularity + item factors times
            context (client/sequence.py); None: scores are item factors times the local solve.
        ids, names, genres, years: of every title, in row order; a year may be unknown.
        rows: row by id.
        item_gram: V'V of the item factors.
    """

    item_factors: FloatArray
    popularity: FloatArray
    recent: FloatArray | None
    alpha0: float
    ridge: float
    ids: tuple[str, ...]
    names: tuple[str, ...]
    genres: tuple[tuple[str, ...], ...]
    years: tuple[int | None, ...]
    rows: Mapping[str, int] = field(repr=False)
    item_gram: FloatArray = field(repr=False)
    embedding: FloatArray | None = None
    memory: Memory | None = None

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Self:
        """The model in a verified bundle.

        Raises:
            BundleError: a tensor, setting or title is missing, or has another shape or type than it must.
        """
        titles = len(bundle.catalogue)
        factors = bundle.tensors.get("item_factors")
        if factors is None or factors.ndim != 2 or len(factors) != titles or factors.shape[1] < 1:
            raise _unusable(f"item_factors must have one row for each of its {titles} titles")
        popularity = _counts(bundle, "popularity", titles)
        if popularity is None:
            raise _unusable("popularity is missing")
        if not np.all(np.isfinite(factors)):
            raise _unusable("item_factors holds NaN or infinity")
        embedding = _embedding(bundle, factors.shape)
        ids = tuple(_text(title, "id") for title in bundle.catalogue)
        rows = {name: row for row, name in enumerate(ids)}
        if len(rows) != titles or not titles:
            raise _unusable("its catalogue is empty or names a title twice")
        wide = np.asarray(factors, dtype=np.float64)
        return cls(
            item_factors=wide,
            popularity=popularity,
            recent=_counts(bundle, "recent", titles),
            alpha0=_setting(bundle, "alpha0", smallest=0.0),
            ridge=_setting(bundle, "ridge", smallest=np.finfo(np.float64).tiny),
            ids=ids,
            names=tuple(_text(title, "name", default=title["id"]) for title in bundle.catalogue),
            genres=tuple(_genres(title) for title in bundle.catalogue),
            years=tuple(_year(title) for title in bundle.catalogue),
            rows=MappingProxyType(rows),
            item_gram=gram(wide),
            embedding=embedding,
            memory=None if embedding is None else _memory(bundle, wide.shape[1]),
        )


def _counts(bundle: Bundle, name: str, titles: int) -> FloatArray | None:
    counts = bundle.tensors.get(name)
    if counts is None:
        return None
    if counts.shape != (titles,) or not np.all(np.isfinite(counts)):
        raise _unusable(f"{name} must be one finite number for each of its {titles} titles")
    return np.asarray(counts, dtype=np.float64)


def _embedding(bundle: Bundle, shape: tuple[int, ...]) -> FloatArray | None:
    embedding = bundle.tensors.get("embedding")
    if embedding is None:
        return None
    if embedding.shape != shape or not np.all(np.isfinite(embedding)):
        raise _unusable("embedding must be finite and of the shape of item_factors")
    return np.asarray(embedding, dtype=np.float64)


def _memory(bundle: Bundle, columns: int) -> Memory:
    tiny = float(np.finfo(np.float64).tiny)
    try:
        memory = Memory.of({name: _setting(bundle, name, smallest=tiny) for name in ("decay", "window", "columns")})
    except ValueError as error:
        raise _unusable(str(error)) from error
    if columns % memory.columns:
        raise _unusable(f"its {columns} factors are not made of parts of {memory.columns}")
    return memory


def _setting(bundle: Bundle, name: str, smallest: float) -> float:
    settings = bundle.manifest.get("settings")
    value = settings.get(name) if isinstance(settings, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not smallest <= value < float("inf"):
        raise _unusable(f"its setting {name} is missing or out of range")
    return float(value)


def _text(title: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = title.get(key, default)
    if not isinstance(value, str) or not value:
        raise _unusable(f"a title of its catalogue has no {key}")
    return value


def _genres(title: Mapping[str, Any]) -> tuple[str, ...]:
    genres = title.get("genres") or []
    if not isinstance(genres, list) or not all(isinstance(genre, str) for genre in genres):
        raise _unusable("the genres of a title are not a list of words")
    return tuple(genres)


def _year(title: Mapping[str, Any]) -> int | None:
    year = title.get("year")
    if year is not None and (isinstance(year, bool) or not isinstance(year, int)):
        raise _unusable("the year of a title is not a whole number")
    return year


def _unusable(what: str) -> BundleError:
    return BundleError(f"this bundle cannot be used: {what}; fetch a newer bundle or tell its publisher")
