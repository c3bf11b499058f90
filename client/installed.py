"""The model a device has installed: copied, verified as copied, switched in one step.

In the device's folder: `models/N/` holds a copy, the file `model` names the one in use. The copy is
verified, not its source, and again whenever it is read: neither can change in between unseen.
"""

import contextlib
import os
from pathlib import Path

from backrow.client.model import PublicModel
from backrow.privacy.bundle import CATALOGUE, MANIFEST, MODEL, open_bundle
from backrow.privacy.errors import BundleError

_POINTER = "model"
_COPIES = "models"


def install_bundle(folder: Path, source: Path, coordinator_key: bytes) -> PublicModel:
    """Copy and verify a bundle, then make it the device's model. If refused, the former model stays.

    Raises:
        BundleError: it is incomplete, damaged, unsigned or not a model, or cannot be stored.
        SignatureError: it was changed or signed by another coordinator.
    """
    copy: Path | None = None
    try:
        copies = folder / _COPIES
        copies.mkdir(exist_ok=True)
        former = sorted(copies.iterdir())
        copy = copies / f"{1 + max((int(place.name) for place in former if place.name.isdecimal()), default=0)}"
        copy.mkdir()
        for name in (MODEL, CATALOGUE, MANIFEST):
            if (source / name).is_file():  # what is missing, `open_bundle` names
                _write_durably(copy / name, (source / name).read_bytes())
        model = PublicModel.from_bundle(open_bundle(copy, coordinator_key))
        draft = folder / f".{_POINTER}"
        _write_durably(draft, copy.name.encode())
        draft.replace(folder / _POINTER)
    except BaseException as problem:
        if copy is not None:
            _remove(copy)
        if isinstance(problem, OSError):
            raise BundleError(
                f"the bundle cannot be stored ({problem.strerror}): check space and permissions"
            ) from None
        raise
    for place in former:
        _remove(place)
    return model


def installed_model(folder: Path, coordinator_key: bytes) -> PublicModel | None:
    """The model in use, verified anew; None before the first `install_bundle`.

    Raises:
        BundleError, SignatureError: what is installed is no longer what was signed.
    """
    try:
        name = (folder / _POINTER).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise BundleError("which model is installed cannot be read: install the bundle again") from None
    if Path(name).name != name:
        raise BundleError("the note of which model is installed is damaged: install the bundle again")
    return PublicModel.from_bundle(open_bundle(folder / _COPIES / name, coordinator_key))


def _write_durably(target: Path, data: bytes) -> None:
    with target.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove(copy: Path) -> None:
    """As far as it can be removed: what is left over is taken away by the next installation."""
    with contextlib.suppress(OSError):
        for file in copy.iterdir():
            file.unlink()
        copy.rmdir()
