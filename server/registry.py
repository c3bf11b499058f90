"""Writes signed model bundles: the same bytes for everybody. Runs on the coordinator."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from backrow.privacy.bundle import CATALOGUE, MANIFEST, MODEL, canonical, sign_manifest
from backrow.privacy.signing import SigningKey
from backrow.privacy.units import PrivacyClaim
from backrow.server.programs.base import PUBLISHED, FloatArray, ModelTensors
from backrow.server.programs.prior import starting_factors
from backrow.server.round import Release


def write_bundle(
    folder: Path,
    model: ModelTensors,
    catalogue: Sequence[dict[str, Any]],
    releases: Sequence[Release],
    claim: PrivacyClaim,
    key: SigningKey,
) -> tuple[bytes, bytes]:
    """Write and sign a bundle; hashes of its manifest and tensors, for the ledger.

    Args:
        folder: created; must not exist.
        catalogue: one mapping per title in row order: id, name, genres, year.
        releases: everything released so far, of which the model was made; their receipts go into the manifest.
        claim: what the releases cost in all.

    Raises:
        ValueError: there is no release: a model without a receipt is not published.
    """
    if not releases:
        raise ValueError("a model made from no release has no receipt and cannot be published")
    last = releases[-1].plan
    receipts = [{"round": r.receipt.round, "entry": r.receipt.index, "sha256": r.receipt.digest} for r in releases]
    origin = {"run": last.run_id, "release": last.round, "receipts": receipts}
    return _write(folder, model, catalogue, origin, claim, key)


def write_first_bundle(
    folder: Path, metadata: FloatArray, catalogue: Sequence[dict[str, Any]], run_id: str, key: SigningKey
) -> None:
    """Write and sign the bundle that devices install before the first round: public metadata, nobody's data.

    Args:
        folder: created; must not exist.
        metadata: public factors, shape (titles, rank), as `metadata_factors` makes them.
        catalogue: as `write_bundle`.
    """
    flat = np.ones(len(catalogue))
    model = ModelTensors(starting_factors(metadata, flat), flat, None, alpha0=0.4, ridge=0.1)
    _write(folder, model, catalogue, {"run": run_id, "release": 0, "receipts": []}, None, key)


def _write(
    folder: Path,
    model: ModelTensors,
    catalogue: Sequence[dict[str, Any]],
    origin: dict[str, Any],
    claim: PrivacyClaim | None,
    key: SigningKey,
) -> tuple[bytes, bytes]:
    tensors = {"item_factors": model.item_factors, "popularity": model.popularity}
    if model.recent is not None:
        tensors["recent"] = model.recent
    settings = {"alpha0": model.alpha0, "ridge": model.ridge}
    if model.sequence is not None:
        tensors["embedding"] = model.sequence.embedding
        settings |= model.sequence.settings
    files = {
        MODEL: save({name: np.ascontiguousarray(tensor, dtype=PUBLISHED) for name, tensor in tensors.items()}),
        CATALOGUE: canonical(list(catalogue)),
    }
    manifest = {
        **origin,
        "settings": settings,
        "claim": claim
        and {
            "epsilon": claim.epsilon,
            "delta": claim.delta,
            "unit": claim.unit.value,
            "adjacency": claim.adjacency.value,
            "releases": claim.releases,
            "simulated": claim.simulated,
        },
    }
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    # The manifest comes last and in one step: a bundle cut off while being written has none.
    draft = folder / f".{MANIFEST}"
    signed = sign_manifest(manifest, files, key)
    draft.write_bytes(signed)
    draft.replace(folder / MANIFEST)
    return sha256(signed).digest(), sha256(files[MODEL]).digest()
