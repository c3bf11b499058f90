"""The model bundle: a signed manifest, tensors, and the catalogue; the same bytes for everybody.

A folder of three files. `manifest.json` names the hash of the other two and carries the coordinator's
signature; `model.safetensors` holds tensors only; `catalogue.json` lists the titles in row order. Written
by the coordinator (`backrow.server.registry`), verified here by the device and the auditor before use.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from numpy.typing import NDArray

from backrow.privacy.errors import BundleError
from backrow.privacy.signing import BUNDLE, SigningKey, verify

FORMAT = "backrow-bundle/1"
MANIFEST, MODEL, CATALOGUE = "manifest.json", "model.safetensors", "catalogue.json"
_SAFETENSORS: dict[str, np.dtype[Any]] = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4")}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle.

    Attributes:
        manifest: what the coordinator signed (run, settings, claim).
        tensors: name to array, float64.
        catalogue: one mapping per title, in row order, with at least "id".
    """

    manifest: dict[str, Any]
    tensors: dict[str, NDArray[np.float64]]
    catalogue: list[dict[str, Any]]


def canonical(value: object) -> bytes:
    """The one JSON encoding that is hashed and signed."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def catalogue_digest(ids: Sequence[str]) -> str:
    """SHA-256 of the titles' ids in row order, hex: which rows a round call means."""
    return _sha256(canonical(list(ids)))


def sign_manifest(manifest: dict[str, Any], files: dict[str, bytes], key: SigningKey) -> bytes:
    """Bytes of `manifest.json` for these files. Runs on the coordinator."""
    listed = {name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in files.items()}
    body = {**manifest, "format": FORMAT, "files": listed, "key": key.public.hex()}
    signed = {**body, "signature": key.sign(BUNDLE, canonical(body)).hex()}
    return json.dumps(signed, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def open_bundle(folder: Path, public_key: bytes) -> Bundle:
    """Verify a bundle and read it. Runs on the device, before anything of it is used.

    Args:
        folder: holds `manifest.json` and the files it names.
        public_key: the pinned coordinator key, 32 bytes; a key found in the bundle is never trusted.

    Raises:
        BundleError: a file is missing, damaged or not what the manifest says; the manifest is unsigned.
        SignatureError: the manifest was changed or signed by another coordinator.
    """
    manifest = _manifest(_read(folder, MANIFEST), public_key)
    contents = {}
    for name in (MODEL, CATALOGUE):
        data, expected = _read(folder, name), manifest["files"].get(name, {})
        if _sha256(data) != expected.get("sha256"):
            raise BundleError(f"{name} is damaged: it is not the file the coordinator signed; fetch the bundle again")
        contents[name] = data
    try:
        catalogue = json.loads(contents[CATALOGUE])
    except ValueError:
        raise BundleError(f"{CATALOGUE} is not JSON: this bundle cannot be used") from None
    if not isinstance(catalogue, list) or not all(
        isinstance(t, dict) and isinstance(t.get("id"), str) for t in catalogue
    ):
        raise BundleError(f"{CATALOGUE} is not a list of titles with an id: this bundle cannot be used")
    return Bundle(manifest, read_safetensors(contents[MODEL]), catalogue)


def read_safetensors(data: bytes) -> dict[str, NDArray[np.float64]]:
    """Tensors of a safetensors file, as float64. Reads F32 and F64 only; nothing in it is executed.

    Raises:
        BundleError: the bytes are not such a file, or hold NaN or infinity.
    Source: https://huggingface.co/docs/safetensors (8-byte header length, JSON header, raw data).
    """
    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        body = memoryview(data)[8 + length :]
        tensors = {}
        for name, entry in header.items():
            dtype, shape, (start, end) = _SAFETENSORS[entry["dtype"]], entry["shape"], entry["data_offsets"]
            if not 0 <= start <= end <= len(body) or end - start != math.prod(shape) * dtype.itemsize:
                raise BundleError(f"tensor {name!r} is cut off: fetch the bundle again")
            tensors[name] = np.frombuffer(body[start:end], dtype).reshape(shape).astype(np.float64)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BundleError(f"{MODEL} is not a readable safetensors file ({problem!r})") from None
    for name, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise BundleError(f"tensor {name!r} holds NaN or infinity: this bundle cannot be used")
    return tensors


def _manifest(data: bytes, public_key: bytes) -> dict[str, Any]:
    try:
        manifest = json.loads(data)
    except ValueError:
        raise BundleError(f"{MANIFEST} is not JSON: fetch the bundle again") from None
    if (
        not isinstance(manifest, dict)
        or manifest.get("format") != FORMAT
        or not isinstance(manifest.get("files"), dict)
    ):
        raise BundleError(f"{MANIFEST} is not a {FORMAT} manifest: update the SDK or fetch the bundle again")
    body = {name: value for name, value in manifest.items() if name != "signature"}
    try:
        signature = bytes.fromhex(manifest["signature"])
    except (KeyError, TypeError, ValueError):
        raise BundleError("the bundle is not signed: only a bundle signed by the coordinator is used") from None
    verify(public_key, BUNDLE, canonical(body), signature)
    return manifest


def _sha256(data: bytes) -> str:
    digest = Hash(SHA256())  # not hashlib: it would load a second OpenSSL into the device SDK
    digest.update(data)
    return digest.finalize().hex()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError:
        raise BundleError(f"{name} is missing from the bundle {folder}: fetch the bundle again") from None
