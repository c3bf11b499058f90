"""What made a release, as hashes: settings, code, dependencies, and the public model before and after."""

import dataclasses
from collections.abc import Mapping
from functools import cache, lru_cache
from hashlib import sha256
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from backrow.privacy.bundle import canonical
from backrow.privacy.ledger.parts import Provenance
from backrow.server.programs.base import FloatArray
from backrow.server.settings import RunSettings

CODE = ("backrow.privacy", "backrow.client", "backrow.server")


class Provenances:
    """Of a run's releases. What one has left the next begins with: it is hashed once."""

    def __init__(self) -> None:
        self._last: tuple[dict[str, FloatArray], bytes | None] = ({}, None)

    def of(
        self, settings: RunSettings, before: Mapping[str, FloatArray], after: Mapping[str, FloatArray]
    ) -> Provenance:
        """Of one release.

        Args:
            before, after: public tensors that the round asked with, and that the next would; empty where no
                model is trained. Nothing can be written to them from now on.
        """
        hashes = self._digest(before), self._digest(after)
        return Provenance(*hashes, _settings_digest(settings, repr(settings)), code_digest(), dependencies_digest())

    def _digest(self, tensors: Mapping[str, FloatArray]) -> bytes | None:
        last, digest = self._last
        if tensors.keys() == last.keys() and all(
            last[name] is tensor and tensor.flags.owndata for name, tensor in tensors.items()
        ):
            return digest
        for tensor in tensors.values():
            tensor.flags.writeable = False
        self._last = dict(tensors), tensors_digest(tensors)
        return self._last[1]


def tensors_digest(tensors: Mapping[str, FloatArray]) -> bytes | None:
    """SHA-256 of named tensors; None if there are none."""
    if not tensors:
        return None
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        array = np.ascontiguousarray(tensor, dtype="<f8")
        digest.update(canonical([name, list(array.shape)]))
        digest.update(array.reshape(-1).data)
    return digest.digest()


@lru_cache(maxsize=8)
def _settings_digest(settings: RunSettings, spelled: str) -> bytes:
    # Settings that are equal may be spelled differently (8 and 8.0), and then hash differently.
    return sha256(canonical(dataclasses.asdict(settings))).digest()


@cache
def code_digest() -> bytes:
    """SHA-256 of the Python files of the wings that a claim depends on."""
    digest = sha256()
    for package in CODE:
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(root.rglob("*.py")):
            digest.update(
                canonical([package, path.relative_to(root).as_posix(), sha256(path.read_bytes()).hexdigest()])
            )
    return digest.digest()


@cache
def dependencies_digest() -> bytes:
    """SHA-256 of the names and versions of everything installed beside this code."""
    names = {f"{each.metadata['Name']}=={each.version}".lower() for each in distributions()}
    return sha256("\n".join(sorted(names)).encode()).digest()
