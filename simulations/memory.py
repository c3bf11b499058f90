"""How much memory a run will need and how much there is: said before it starts, not by the system in the middle of it.

The histories of a population lie in files that are mapped: the system keeps of them what fits and reads the rest again,
so they are not counted as needed. What is counted is each process' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backrow.privacy.errors import ScenarioError
from backrow.privacy.plan import RoundPlan

MEBI = 1 << 20
PROCESS, RAY, NODE = 360 * MEBI, 300 * MEBI, 330 * MEBI
"""The coordinator's process with its libraries; Ray's own processes; each process of a Flower node."""
PER_NAME, PER_HOSTED = 60, 20
"""Bytes of a device at the coordinator (its pseudonym in some lists) and at its edge (pseudonym and slot)."""
PER_COMMITTED = 80
"""Bytes of a device while the ledger commits to a cohort: its keyed hash, twice."""
PER_OBJECT, PER_EVENT = 800, 13
"""Bytes of a device whose history is an object of its own, and of each title in it."""
SUMS = 8
"""Copies of a round's sum that are alive together, besides those of the workers."""


@dataclass(frozen=True, slots=True)
class Need:
    """What something takes.

    Attributes:
        instead: what makes it smaller.
    """

    what: str
    bytes: int
    instead: str


@dataclass(frozen=True, slots=True)
class Run:
    """What decides how much memory a run needs.

    Attributes:
        plans: of its rounds.
        devices, events: of the population; events in all.
        nodes: Flower nodes; with Ray each is a process, `at_once` of them at a time.
        workers: threads of a node.
        whole: nodes answer for whole cohorts in every round; else some answers are computed device by device.
        in_memory: histories are made in memory, as those of a data set are.
    """

    plans: Sequence[RoundPlan]
    devices: int
    events: int
    nodes: int
    at_once: int
    ray: bool
    workers: int
    whole: bool
    in_memory: bool


def needs_of(run: Run) -> list[Need]:
    """What a run will take, largest first. Estimates, made to be rather high."""
    largest = max((plan.query.rows * plan.query.columns * 8 for plan in run.plans), default=0)
    processes = PROCESS + (RAY + min(run.nodes, run.at_once) * NODE if run.ray else 0)
    made = [
        Need("the processes themselves", processes, "fewer nodes"),
        Need(
            f"the list of {run.devices:,} devices and the ledger's commitment to it",
            run.devices * (PER_NAME + PER_HOSTED + PER_COMMITTED),
            "fewer devices",
        ),
        Need(
            "sums of answers",
            largest * (SUMS + (2 * max(run.workers, 1) + 1) * (min(run.nodes, run.at_once) if run.ray else 1)),
            "fewer titles, factors or cohort.workers",
        ),
    ]
    if not run.whole:
        objects = run.devices * PER_OBJECT + run.events * PER_EVENT
        made.append(Need("histories, device by device", objects, "a trainer that answers for whole cohorts"))
    if run.in_memory:
        made.append(Need("the data set", run.events * 60, "a smaller data set"))
    return sorted(made, key=lambda need: -need.bytes)


def foresee(run: Run, available: int | None) -> None:
    """Return if the run fits.

    Args:
        available: bytes, as `available_bytes` says; None: nobody knows, and nothing is refused.

    Raises:
        ScenarioError: it needs more; says how much, and what to change.
    """
    needs = needs_of(run)
    total = sum(need.bytes for need in needs)
    if available is None or total <= available:
        return
    largest = needs[0]
    raise ScenarioError(
        f"this run needs about {total / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are free: "
        f"{largest.bytes / 1e9:.1f} GB of it for {largest.what}; choose {largest.instead}, or a larger machine"
    )


def available_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that can still be used: the system's, or what a container leaves of it. None where nobody says."""
    known = [
        amount
        for amount in (_system(proc / "meminfo"), _left(cgroup, "memory.max", "memory.current", "file"), _left(
            cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_cache"
        ))
        if amount is not None
    ]  # fmt: skip
    return min(known, default=None)


def _system(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _left(group: Path, limit: str, used: str, cache: str) -> int | None:
    """A control group's limit less what is used for anything but cached files."""
    try:
        most, now = int((group / limit).read_text()), int((group / used).read_text())
        counted = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, most - now + int(counted.get(cache, 0)))
    except (OSError, ValueError):
        return None  # no control groups here, or no limit ("max")
