"""Generated populations on disk: drawn once, kept in the cache outside every repository, checked whenever opened."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backrow.privacy.errors import DataError
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.fetch import CACHE_VARIABLE, cache_folder
from backrow.simulations.datasets.generated import ARRAYS, generate
from backrow.simulations.datasets.recipe import Recipe

NAME = "generated"
FORMAT = "backrow-generated/1"
MANIFEST = "manifest.json"
_BYTES_PER_DEVICE, _BYTES_PER_EVENT = 20, 5
"""On disk."""
_READ = 1 << 22


@dataclass(frozen=True)
class GeneratedDataset(Dataset):
    """The sampled viewers of a generated population; what it was drawn from names it.

    Attributes:
        origin: SHA-256 over recipe and files of the whole population, hex.
    """

    origin: str = ""

    @property
    def fingerprint(self) -> str:
        """Of the whole population, not of the sample."""
        return self.origin


@dataclass(frozen=True, slots=True)
class Files:
    """A population on disk.

    Attributes:
        folder: of the arrays.
        fingerprint: SHA-256 over the recipe and the files as they are now, hex.
    """

    folder: Path
    fingerprint: str

    def array(self, name: str) -> NDArray[Any]:
        """One of `ARRAYS`, memory-mapped."""
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return array


def disk_bytes(recipe: Recipe) -> int:
    """What the files of a population take, about."""
    return recipe.devices * (_BYTES_PER_DEVICE + _BYTES_PER_EVENT * recipe.events)


def files_of(recipe: Recipe, workers: int, told: Callable[[float], None]) -> Files:
    """The files of a population, drawn now if they are not in the cache.

    Args:
        workers: threads; the files do not depend on them.
        told: how much is drawn, 0..1; not called if nothing is.

    Raises:
        DataError: the files are not what was written, or there is no room for them.
    """
    folder = cache_folder() / NAME / _name(recipe)
    if not (folder / MANIFEST).is_file():
        _draw(recipe, folder, workers, told)
    return _checked(recipe, folder)


def _name(recipe: Recipe) -> str:
    numbers = json.dumps(recipe.fields(), sort_keys=True)
    return f"{recipe.devices}x{recipe.titles}-{hashlib.sha256(numbers.encode()).hexdigest()[:12]}"


def _draw(recipe: Recipe, folder: Path, workers: int, told: Callable[[float], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder.parent).free, disk_bytes(recipe)
    if free < 1.1 * needed:
        raise DataError(
            f"the generated population takes {needed / 1e9:.1f} GB on disk and {free / 1e9:.1f} GB are free: make "
            f"room, set {CACHE_VARIABLE} to another disk, or lower generated.devices or generated.events"
        )
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        generate(recipe, draft, workers, told)
        manifest = {"format": FORMAT, "recipe": recipe.fields(), "files": _digests(draft)}
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="ascii")
        shutil.rmtree(folder, ignore_errors=True)  # cut off earlier, before its manifest
        try:
            draft.replace(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
            # another process drew the same bytes meanwhile
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _checked(recipe: Recipe, folder: Path) -> Files:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        whole = (
            manifest["format"] == FORMAT
            and manifest["recipe"] == recipe.fields()
            and manifest["files"] == _digests(folder)
        )
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DataError(
            f"the generated population in {folder} is not what was written there: remove the folder, and it is drawn "
            "again"
        )
    told = json.dumps([manifest["recipe"], manifest["files"]], sort_keys=True)
    catalogue = recipe.catalogue
    told += repr((catalogue.ids, catalogue.genres, catalogue.years))
    return Files(folder, hashlib.sha256(told.encode()).hexdigest())


def _digests(folder: Path) -> dict[str, str]:
    return {name: _sha256(folder / f"{name}.npy") for name in ARRAYS}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ):
            digest.update(part)
    return digest.hexdigest()
