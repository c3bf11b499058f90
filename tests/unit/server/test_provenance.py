"""Hashes of what made a release are those of the tensors themselves, however often they are asked for."""

from dataclasses import replace

import numpy as np
import pytest

from backrow.server.provenance import Provenances, tensors_digest
from backrow.server.settings import RunSettings

SETTINGS = RunSettings("run", "gradient", 8.0, 1e-5, 9, 100, 20, 2, 1.0)


def tensors(seed: int) -> dict[str, np.ndarray]:
    return {"factors": np.random.default_rng(seed).normal(size=(9, 4))}


def test_what_a_release_left_has_the_same_hash_where_the_next_begins() -> None:
    first, second, third = tensors(1), tensors(2), tensors(3)
    run = Provenances()
    found = [run.of(SETTINGS, first, second), run.of(SETTINGS, dict(second), third), run.of(SETTINGS, third, {})]
    assert [(each.model_in, each.model_out) for each in found] == [
        (tensors_digest(first), tensors_digest(second)),
        (tensors_digest(second), tensors_digest(third)),
        (tensors_digest(third), None),
    ]
    assert found[1] == Provenances().of(SETTINGS, tensors(2), tensors(3))


def test_tensors_that_were_hashed_cannot_be_changed() -> None:
    before, after = tensors(1), tensors(2)
    Provenances().of(SETTINGS, before, after)
    for hashed in (before, after):
        with pytest.raises(ValueError, match="read-only"):
            hashed["factors"][0, 0] = 1.0


def test_other_settings_have_another_hash_even_if_python_calls_them_equal() -> None:
    whole = replace(SETTINGS, epsilon=8)
    assert whole == SETTINGS
    run = Provenances()
    assert run.of(SETTINGS, {}, {}) == run.of(SETTINGS, {}, {})
    assert run.of(SETTINGS, {}, {}) != run.of(whole, {}, {})
