"""Small signed bundles for tests of the device."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from backrow.client.model import PublicModel
from backrow.client.solve import FloatArray
from backrow.privacy.bundle import CATALOGUE, MANIFEST, MODEL, Bundle, canonical, sign_manifest
from backrow.privacy.signing import SigningKey

COORDINATOR = SigningKey(bytes(range(1, 33)))
STRANGER = SigningKey(bytes(range(2, 34)))
SETTINGS = {"alpha0": 0.4, "ridge": 0.1}


def catalogue(titles: int) -> list[dict[str, Any]]:
    return [{"id": f"t{n}", "name": f"Title {n}", "genres": ["Drama"], "year": 1950 + n} for n in range(titles)]


def tensors(titles: int = 30, factors: int = 4, seed: int = 0) -> dict[str, FloatArray]:
    """Factors with structure: even and odd titles are of two kinds. Popularity falls with the row."""
    random = np.random.default_rng(seed)
    made = random.normal(scale=0.1, size=(titles, factors))
    made[np.arange(titles), np.arange(titles) % 2] += 0.8
    return {"item_factors": made, "popularity": np.linspace(100, 1, titles)}


def bundle(titles: int = 30, **changes: Any) -> Bundle:
    """A bundle as it comes out of `open_bundle`; changes replace tensors, None removes one."""
    made = {name: tensor for name, tensor in {**tensors(titles), **changes}.items() if tensor is not None}
    return Bundle({"settings": dict(SETTINGS)}, made, catalogue(titles))


def model(titles: int = 30, **changes: Any) -> PublicModel:
    return PublicModel.from_bundle(bundle(titles, **changes))


def write_bundle(folder: Path, key: SigningKey = COORDINATOR, *, titles: int = 30, seed: int = 0) -> Path:
    """A bundle on disk, as the coordinator writes it."""
    narrow = {name: tensor.astype(np.float32) for name, tensor in tensors(titles, seed=seed).items()}
    files = {MODEL: save(narrow), CATALOGUE: canonical(catalogue(titles))}
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(sign_manifest({"run": "r", "settings": SETTINGS}, files, key))
    return folder
