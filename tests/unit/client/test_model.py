"""What a bundle must hold before a device uses it."""

from typing import Any

import numpy as np
import pytest

from backrow.client.model import PublicModel
from backrow.privacy.bundle import Bundle
from backrow.privacy.errors import BundleError
from tests.unit.client.bundles import bundle, catalogue, tensors


def changed(settings: Any = None, titles: Any = None) -> Bundle:
    made = bundle()
    manifest = made.manifest if settings is None else {"settings": settings}
    return Bundle(manifest, made.tensors, made.catalogue if titles is None else titles)


def one_title_is(**entry: Any) -> list[dict[str, Any]]:
    return [*catalogue(29), {"id": "last", "name": "Last", **entry}]


def test_a_whole_bundle_becomes_a_model() -> None:
    model = PublicModel.from_bundle(bundle(recent=np.ones(30)))
    assert model.ids[2] == "t2"
    assert model.names[2] == "Title 2"
    assert model.genres[2] == ("Drama",)
    assert model.years[2] == 1952
    assert model.rows["t29"] == 29
    assert (model.alpha0, model.ridge) == (0.4, 0.1)
    assert model.recent is not None
    np.testing.assert_allclose(model.item_gram, tensors()["item_factors"].T @ tensors()["item_factors"])


def test_single_precision_is_read_as_double() -> None:
    model = PublicModel.from_bundle(bundle(item_factors=tensors()["item_factors"].astype(np.float32)))
    assert model.item_factors.dtype == np.float64


def test_recent_counts_names_genres_and_years_may_be_missing() -> None:
    model = PublicModel.from_bundle(changed(titles=[{"id": f"t{n}"} for n in range(30)]))
    assert model.recent is None
    assert model.names[3] == "t3"
    assert model.genres[3] == ()
    assert model.years[3] is None


NAN = np.full(30, np.nan)

UNUSABLE = {
    "no factors": bundle(item_factors=None),
    "factors of another size": bundle(item_factors=np.ones((29, 4))),
    "factors in one dimension": bundle(item_factors=np.ones(30)),
    "no columns": bundle(item_factors=np.ones((30, 0))),
    "infinite factors": bundle(item_factors=np.full((30, 4), np.inf)),
    "no popularity": bundle(popularity=None),
    "popularity of another size": bundle(popularity=np.ones(31)),
    "popularity that is not a number": bundle(popularity=NAN),
    "recent counts of another shape": bundle(recent=np.ones((30, 1))),
    "recent counts that are not numbers": bundle(recent=NAN),
    "no settings": changed(settings={}),
    "settings that are a list": changed(settings=[1]),
    "a negative alpha0": changed(settings={"alpha0": -1, "ridge": 0.1}),
    "no ridge": changed(settings={"alpha0": 0.4, "ridge": 0}),
    "a ridge that is true": changed(settings={"alpha0": 0.4, "ridge": True}),
    "an infinite ridge": changed(settings={"alpha0": 0.4, "ridge": float("inf")}),
    "an empty catalogue": Bundle({}, {"item_factors": np.ones((0, 4)), "popularity": np.ones(0)}, []),
    "a title twice": changed(titles=one_title_is(id="t0")),
    "a title without a name": changed(titles=one_title_is(name="")),
    "a name that is a number": changed(titles=one_title_is(name=7)),
    "genres that are a word": changed(titles=one_title_is(genres="Drama")),
    "a year that is a word": changed(titles=one_title_is(year="1999")),
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_bundle_is_refused_with(unusable: Bundle) -> None:
    with pytest.raises(BundleError, match="cannot be used"):
        PublicModel.from_bundle(unusable)
