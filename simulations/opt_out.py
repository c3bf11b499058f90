"""The owner of one real device opts out, and what that changes: what the demo shows last.

SDK devices with vaults of their own behind real edges, signed calls, secure sums, noise in shares, a ledger: all as in
production, but for the seeds. They let the same rounds be run again with her device unplugged and compared to the byte.
"""

import itertools
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from backrow.client import Device, DevicePolicy, EventKind, WatchEvent
from backrow.client.egress import Egress
from backrow.client.receipts import Receipt
from backrow.client.recommend import Pick
from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.proofs import check_proof, prove_absence
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger.files import read_files
from backrow.privacy.randomness import RandomSource, SeededRandom
from backrow.privacy.signing import SigningKey
from backrow.server.strategy import RoundReport
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.opt_out_rounds import HER, MINIMUM, OWNERS, SEED, Hers, Rounds
from backrow.simulations.population import device_name
from backrow.simulations.training import LISTS
from backrow.simulations.viewer import PUBLIC_KEY

POLICY = DevicePolicy(smallest_cohort=MINIMUM, accept_simulated=True)
PROOF = "absence.json"


@dataclass(frozen=True, slots=True)
class Moment:
    """How a round went for her and for the coordinator.

    Attributes:
        asked: calls that reached her device.
        left: what left it meanwhile, as its log says.
        invited, took_part: as the coordinator reports them.
        picks: what her device recommends after it.
    """

    asked: int
    left: tuple[Egress, ...]
    invited: int
    took_part: int
    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True)
class OptOut:
    """What the act found.

    Attributes:
        moments: of rounds 1 to 3.
        told: the opt-out itself, as her log says.
        receipts: hers, at the end.
        same: messages and files of the coordinator's side that are the same bytes with her device unplugged.
        different: those that are not, by name.
        size: bytes of all that was compared.
        absent: entry of the release that a checked proof shows her to be absent from.
        findings: of an audit of the whole ledger, with the lists.
        folder: the run's, with the proof.
        name: her pseudonym.
    """

    moments: tuple[Moment, ...]
    told: tuple[Egress, ...]
    receipts: tuple[Receipt, ...]
    same: int
    different: tuple[str, ...]
    size: int
    absent: int
    findings: int
    folder: Path
    name: str


def opt_out(
    bundle: Path,
    dataset: Dataset,
    key: SigningKey,
    folder: Path,
    *,
    now: int,
    decides: Callable[[Hers], None] = lambda hers: hers.device.set_consent(False),
) -> OptOut:
    """Three rounds of the first viewers' devices: she takes part, withdraws, tells the coordinator. Then once more.

    Args:
        bundle: the model that all devices install.
        dataset: what they have watched.
        key: the coordinator's.
        folder: of the run; must not exist.
        now: Unix seconds; clocks stand still.
        decides: what she does when the first call of round `WITHDRAWS` arrives.
    """
    with tempfile.TemporaryDirectory(prefix="backrow-opt-out-") as scratch, ExitStack() as stack:
        there, again = Path(scratch) / "owners", Path(scratch) / "again"
        for owner in range(OWNERS):
            with _open(there, owner, key, now, "settling") as device:
                device.install(bundle)
                for event in _watched(dataset, owner):
                    device.record(event)
                device.set_consent(True)
        shutil.copytree(there, again)

        def open_all(place: Path) -> dict[str, Device]:
            made = {device_name(owner): _open(place, owner, key, now, "rounds") for owner in range(OWNERS)}
            for device in made.values():
                stack.callback(device.close)
            return made

        devices, requests, moments, logged = open_all(there), list[bytes](), list[Moment](), 0
        hers = devices[device_name(HER)]

        def after(report: RoundReport, seen: Hers) -> None:
            nonlocal logged
            log = hers.egress_log()
            told = sum(not entry.purpose for entry in log)
            left, logged = tuple(log[logged + told :]), len(log) - told
            asked = seen.asked.count(report.plan.round)
            moments.append(Moment(asked, left, report.invited, report.participants, tuple(hers.recommend(10))))

        def request() -> bytes:
            requests.append(hers.opt_out_request(device_name(HER)))
            return requests[-1]

        one = Rounds(devices, folder, dataset, key, now, decides, request, after).run()
        other = Rounds(
            open_all(again), Path(scratch) / "run", dataset, key, now, lambda seen: setattr(seen, "unplugged", True),
            lambda: requests[-1],
        ).run()  # fmt: skip
        different = tuple(sorted(name for name in {*one, *other} if one.get(name) != other.get(name)))
        told = tuple(entry for entry in hers.egress_log() if not entry.purpose)
        (folder / PUBLIC_KEY).write_text(f"{key.public.hex()}\n", encoding="ascii")
        lists = Lists.parse((folder / LISTS).read_bytes())
        return OptOut(
            tuple(moments), told, tuple(hers.receipts()), len(one.keys() | other.keys()) - len(different), different,
            sum(map(len, one.values())), _prove(folder, lists, key.public),
            len(verify(folder, key.public, lists=lists).findings), folder, device_name(HER),
        )  # fmt: skip


def _prove(folder: Path, lists: Lists, public: bytes) -> int:
    """Prove her absence from the last release, as `backrow audit prove` does, check the proof, and keep it."""
    files, last = read_files(folder), max(lists.participants)
    proof = prove_absence([line + b"\n" for line in files.lines], files.checkpoint, last, lists, device_name(HER))
    proved = check_proof(proof, public)
    assert proved.absent is not None
    (folder / PROOF).write_bytes(proof)
    return proved.entry.index


def _open(folder: Path, owner: int, key: SigningKey, now: int, purpose: str) -> Device:
    calls = itertools.count()

    def random() -> RandomSource:
        return SeededRandom(SEED, f"opt-out-{purpose}", owner, next(calls))

    return Device.open(
        folder / device_name(owner),
        SeededRandom(SEED, "opt-out-vault", owner).bytes(32),
        coordinator_key=key.public,
        policy=POLICY,
        clock=lambda: now,
        random=random,
    )


def _watched(dataset: Dataset, owner: int) -> list[WatchEvent]:
    """What a viewer watched, in the order of the data."""
    rows, ids = dataset.interactions, dataset.catalogue.ids
    return [
        WatchEvent(EventKind.COMPLETE, int(rows.timestamp[row]), ids[rows.title[row]])
        for row in (rows.user == owner).nonzero()[0]
    ]
