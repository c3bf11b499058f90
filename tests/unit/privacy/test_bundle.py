"""Bundles: verified before anything of them is used."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from backrow.privacy.bundle import CATALOGUE, MANIFEST, MODEL, open_bundle, read_safetensors
from backrow.privacy.errors import BackrowError, BundleError, SignatureError
from backrow.privacy.signing import SigningKey
from backrow.privacy.units import Adjacency, PrivacyClaim, PrivacyUnit
from backrow.server.programs.base import ModelTensors
from backrow.server.receipts import Receipt
from backrow.server.registry import write_bundle
from backrow.server.round import Release
from tests.builders import plan

KEY = SigningKey(bytes(range(32)))
CLAIM = PrivacyClaim(3.0, 1e-5, PrivacyUnit.DEVICE, Adjacency.ZERO_OUT, 1, True)


def model(titles: int = 4) -> ModelTensors:
    rng = np.random.default_rng(1)
    return ModelTensors(rng.normal(size=(titles, 3)), rng.random(titles) + 1, rng.random(titles), 0.4, 0.1)


def release() -> Release:
    return Release(plan(), np.zeros((6, 1)), 5, Receipt(1, "ab", 3))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    titles = [{"id": str(n), "name": f"Title {n}", "genres": [], "year": None} for n in range(4)]
    write_bundle(tmp_path / "bundle", model(), titles, [release()], CLAIM, KEY)
    return tmp_path / "bundle"


def test_a_good_bundle_opens_with_its_tensors_catalogue_and_claim(bundle: Path) -> None:
    opened = open_bundle(bundle, KEY.public)
    np.testing.assert_allclose(opened.tensors["item_factors"], model().item_factors, rtol=1e-6)
    assert [title["id"] for title in opened.catalogue] == ["0", "1", "2", "3"]
    assert opened.manifest["claim"]["epsilon"] == 3.0
    assert opened.manifest["receipts"][0]["sha256"] == "ab"


def test_the_same_model_makes_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    titles = [{"id": str(n), "name": f"Title {n}", "genres": [], "year": None} for n in range(4)]
    write_bundle(tmp_path / "again", model(), titles, [release()], CLAIM, KEY)
    for name in (MANIFEST, MODEL, CATALOGUE):
        assert (bundle / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("name", [MODEL, CATALOGUE, MANIFEST])
def test_a_damaged_file_is_refused_at_every_byte(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    for position in range(0, len(data), max(1, len(data) // 40)):
        (bundle / name).write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises((BundleError, SignatureError)):
            open_bundle(bundle, KEY.public)


@pytest.mark.parametrize("name", [MODEL, CATALOGUE, MANIFEST])
def test_a_missing_or_truncated_file_is_refused(bundle: Path, name: str) -> None:
    data = (bundle / name).read_bytes()
    (bundle / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BackrowError):
        open_bundle(bundle, KEY.public)
    (bundle / name).unlink()
    with pytest.raises(BundleError, match="missing"):
        open_bundle(bundle, KEY.public)


def test_an_unsigned_bundle_is_refused(bundle: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest["signature"]
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="not signed"):
        open_bundle(bundle, KEY.public)


def test_a_bundle_of_another_coordinator_is_refused_even_if_it_names_its_key(bundle: Path) -> None:
    with pytest.raises(SignatureError, match="another coordinator"):
        open_bundle(bundle, SigningKey(bytes(32)).public)


def test_a_model_without_a_release_cannot_be_published(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="receipt"):
        write_bundle(tmp_path / "bundle", model(), [], [], CLAIM, KEY)
    assert not (tmp_path / "bundle").exists()


def test_our_reader_and_the_safetensors_library_agree() -> None:
    tensors = {"a": np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32), "b": np.ones(3)}
    data = save(tensors)
    ours, theirs = read_safetensors(data), load(data)
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name].astype(np.float64))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 8, save({"a": np.ones(4)})[:-1], save({"a": np.array([np.nan])}), save({"a": np.array([1, 2])})],
    ids=["empty", "huge header", "cut off", "nan", "integers"],
)
def test_a_file_that_is_no_tensor_file_is_refused(data: bytes) -> None:
    with pytest.raises(BundleError):
        read_safetensors(data)
