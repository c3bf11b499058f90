"""Whether so many workers fit into memory: an estimate, made before any of them starts."""

from pathlib import Path

from backrow.privacy.errors import ScenarioError
from backrow.simulations.pipeline import Prepared

BASE = 420 * 2**20
"""A worker with its libraries, before any data."""
PER_INTERACTION = 400
"""Bytes of columns, split, histories and the edges of the last cells, which a process remembers (measured on ML-1M)."""
PER_TITLE = 256 * 8 * 6 + 64 * 8 * 12
"""Bytes of a block of scores with its masks and ranks, and of a block of devices' residuals."""
PER_DEVICE = 2_500
"""Bytes of names, hashes and objects."""
PER_TITLE_SQUARED = 40
"""Bytes of EASE: Gram matrix, factor, inverse, weights. The same of transitions."""


def needed(prepared: Prepared, linear: bool) -> int:
    """Bytes that one worker will need, at the most.

    Args:
        linear: it fits a baseline that is quadratic in the titles.
    """
    titles, devices = len(prepared.dataset.catalogue.ids), len(prepared.population)
    grows = PER_INTERACTION * len(prepared.dataset.interactions) + PER_TITLE * titles + PER_DEVICE * devices
    return BASE + grows + (PER_TITLE_SQUARED * titles**2 if linear else 0)


def available() -> int | None:
    """Bytes that can still be had: of the machine, or of the group of processes this one is limited with."""
    found = [size for size in (_of_machine(), _of_group()) if size is not None]
    return min(found, default=None)


def check_memory(each: int, jobs: int, free: int | None) -> None:
    """Refuse more workers than fit.

    Args:
        each: bytes of one.
        free: bytes that can be had; None: unknown, nothing is refused.

    Raises:
        ScenarioError: they do not fit.
    """
    if free is None or each * jobs <= free:
        return
    fit = free // each
    said = f"{jobs} worker{'s' * (jobs > 1)} need about {each * jobs / 2**30:.1f} GiB, and {free / 2**30:.1f} are free"
    raise ScenarioError(f"{said}: " + (f"use --jobs {fit}" if fit else "this data set needs a larger machine"))


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _of_group() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if limit == "max" else int(limit) - int(used)
