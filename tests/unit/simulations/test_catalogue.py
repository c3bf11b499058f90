import numpy as np
import pytest

from backrow.simulations.datasets.catalogue import Catalogue, without_metadata, year_of

THREE = Catalogue(
    ids=("a", "b", "c"),
    names=("A (1994)", "B (1962)", "C"),
    genres=(("Comedy", "Drama"), ("Drama",), ()),
    years=(1994, 1962, None),
)


def test_features_are_genres_and_decades_in_sorted_columns_and_not_centred() -> None:
    assert THREE.feature_names() == ("genre:Comedy", "genre:Drama", "decade:1960", "decade:1990")
    expected = [[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert THREE.features().tolist() == expected
    assert THREE.features().dtype == np.float64


def test_a_catalogue_without_metadata_has_no_feature_columns() -> None:
    assert without_metadata(["x", "y"]).features().shape == (2, 0)


def test_taking_rows_keeps_their_metadata_and_order() -> None:
    taken = THREE.take([2, 0])
    assert taken.ids == ("c", "a")
    assert taken.years == (None, 1994)
    assert taken.feature_names() == ("genre:Comedy", "genre:Drama", "decade:1990")


def test_a_catalogue_with_two_titles_of_one_id_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        without_metadata(["x", "x"])


def test_a_catalogue_with_columns_of_different_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="one id, name"):
        Catalogue(("a", "b"), ("A",), ((), ()), (None, None))


@pytest.mark.parametrize(
    ("name", "year"),
    [("Toy Story (1995)", 1995), ("The Land (1995) (V)", 1995), ("2001", None), ("(1984) remade (2023)", 2023)],
)
def test_the_year_is_the_last_one_in_brackets(name: str, year: int | None) -> None:
    assert year_of(name) == year
