"""Honest ledgers for tests of the audit: drafts that can be lied in, signed and written afterwards. No mocks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from backrow.privacy.accounting.calibration import epsilon_of, noise_multipliers
from backrow.privacy.accounting.zcdp import zcdp_epsilon
from backrow.privacy.ledger import entries, parts
from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.entries import Body, ReleaseEntry, ReserveEntry
from backrow.privacy.ledger.note import Signer
from backrow.privacy.ledger.parts import Basis, Purpose, PurposeBudget, Spent, Stamp
from backrow.privacy.ledger.pseudonyms import Commitment, PseudonymList, key_commitment
from backrow.privacy.ledger.releases import CLOSED_FORM, ZCDP, release_entry
from backrow.privacy.ledger.signed_entry import sign_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash
from backrow.privacy.plan import Aggregation, Noise, RoundPlan, Schedule
from backrow.privacy.quantise import Rounding
from backrow.privacy.queries import Query
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.signing import SigningKey
from tests.builders import plan

ORIGIN = "backrow/honest"
KEY = SigningKey(b"k" * 32)
OTHER_KEY = SigningKey(b"o" * 32)
EPOCH_KEY = b"e" * 32
START = 1_700_000_000
PEOPLE = tuple(f"device-{number:03d}" for number in range(100))
OPTED_OUT = PEOPLE[90:]
INVITED = PEOPLE[:90]
SURVIVED = 88
IN_SHARES: dict[str, Any] = {
    "noise": Noise.SHARES,
    "aggregation": Aggregation.SECURE,
    "rounding": Rounding.DEVICE_NEAREST,
    "scale": 2.0**10,
    "minimum": 60,
    "omitted": 0.1,
}
"""How a plan differs in which the devices add the noise."""

POLICY, SCHEDULE, ENROLMENT, OPT_OUTS, RESERVE, RELEASE = range(6)
"""Places of the first entries; reserve and release alternate from there, the publication is last."""


@dataclass(frozen=True)
class Draft:
    """What a coordinator would write: bodies, an entry a second, not yet signed."""

    bodies: tuple[Body, ...]
    origin: str = ORIGIN
    policy: bytes = b""

    def swap(self, index: int, **changes: object) -> "Draft":
        """The same with fields of one body changed."""
        return self.put(index, replace(self.bodies[index], **changes))  # type: ignore[arg-type]

    def put(self, index: int, *bodies: Body) -> "Draft":
        """The same with these bodies in place of one."""
        return replace(self, bodies=(*self.bodies[:index], *bodies, *self.bodies[index + 1 :]))

    def lines(self, key: SigningKey = KEY) -> list[bytes]:
        """Signed lines with their newlines."""
        return [
            sign_entry(key, self.origin, index, START + index, body).encode() + b"\n"
            for index, body in enumerate(self.bodies)
        ]


def rules(
    epsilon: float | None,
    stamp: Stamp,
    additions: parts.Additions,
    purposes: Sequence[PurposeBudget],
    delta: float = 1e-5,
) -> bytes:
    """policy.toml as the coordinator writes it."""
    said = '"none"' if epsilon is None else repr(epsilon)
    lines = [f"epsilon = {said}", f"delta = {delta!r}", "minimum_cohort = 2", f'stamp = "{stamp}"']
    lines += [f'additions = "{additions}"', "", "[purposes]"]
    return "\n".join([*lines, *(f"{budget.purpose} = {budget.epsilon!r}" for budget in purposes), ""]).encode()


def with_policy(draft: Draft, **changes: Any) -> Draft:
    """The same under other rules, which policy.toml says too."""
    entry = replace(draft.bodies[POLICY], **changes)
    assert isinstance(entry, entries.PolicyEntry)
    file = rules(entry.epsilon, entry.stamp, entry.additions, entry.purposes, entry.delta)
    return replace(draft.put(POLICY, replace(entry, policy=sha256(file).digest())), policy=file)


def spent(plans: Sequence[RoundPlan], epsilon: float | None = 3.0, delta: float = 1e-5, added: bool = False) -> Spent:
    """What these rounds cost together, honestly; `added`: some of them outside the schedule."""
    count = zcdp_epsilon if added else epsilon_of
    cost = None if epsilon is None else count([made.noise_multiplier for made in plans], delta)
    return Spent(cost, delta, len(plans))


def with_last_added(draft: Draft, epsilon: float) -> Draft:
    """The same if the last round had been added, under rules with this budget."""
    plans = draft.bodies[SCHEDULE].schedule.rounds  # type: ignore[union-attr]
    last, whole = len(draft.bodies) - 1, spent(plans, added=True)
    late = draft.swap(last - 2, basis=Basis.ADDITION, cumulative=whole)
    late = late.swap(last - 1, cumulative=whole, accountant=ZCDP[0]).swap(last, claim=whole)
    return with_policy(late, additions=parts.Additions.ZCDP, purposes=(), epsilon=epsilon)


def sentinels_of(made: RoundPlan, share: float = 1.0, added: int = SURVIVED) -> tuple[int, ...]:
    """Honest noise on the sentinel rows, or a share of it; from devices, as many shares as were added."""
    random, size = SeededRandom(made.round, "sentinels"), made.query.sentinels * made.query.columns
    if made.noise is Noise.SHARES:
        noise = made.share_sampler().sample(random, added * size).reshape(added, size).sum(axis=0)
    else:
        noise = made.sampler().sample(random, size)
    return tuple(int(value * share) for value in noise)


def integers_of(made: RoundPlan, sentinels: Sequence[int]) -> bytes:
    """The noisy integers of a round as they are kept: of titles some numbers, of the sentinel rows these."""
    titles = np.arange(made.query.titles * made.query.columns)
    return np.concatenate([titles, np.array(sentinels, dtype=np.int64)]).astype("<i8").tobytes()


def release_of(
    index: int, reserve: ReserveEntry, schedule: Schedule, opt_outs: Commitment, sealed: int
) -> ReleaseEntry:
    """The honest release for a reservation."""
    participants = PseudonymList(EPOCH_KEY, INVITED).commitment
    crowd = parts.Crowd(
        invited=len(INVITED),
        survived=SURVIVED,
        minimum=reserve.plan.minimum,
        neighbours=None,
        threshold=None,
        sampling=parts.Sampling.EVERYBODY,
        participation_bound=1,
        participants_size=participants.size,
        participants_root=participants.root,
        opt_out_root=opt_outs.root,
        opt_out_time=sealed,
    )
    made = parts.Provenance(None, None, *(sha256(name).digest() for name in (b"config", b"code", b"lock")))
    sentinels = sentinels_of(reserve.plan)
    values = sha256(integers_of(reserve.plan, sentinels)).digest()
    alone = spent([reserve.plan], schedule.epsilon, schedule.delta)
    return release_entry(index, reserve, schedule, crowd, made, values, alone, CLOSED_FORM, sentinels)


def plans_of(
    shares: Sequence[float],
    epsilon: float | None = 3.0,
    delta: float = 1e-5,
    *,
    sentinels: int = 64,
    simulated: bool = True,
    rows: int = 70,
    places: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[RoundPlan, ...]:
    """Rounds that spend the budget in these shares."""
    multipliers = (
        (0.0,) * len(shares)
        if epsilon is None
        else noise_multipliers(epsilon, delta, shares, 1 if delta < 1e-20 else 10_000)
    )
    made = []
    for number, multiplier in enumerate(multipliers, 1):
        query = Query.POPULARITY if number == 1 else Query.GRADIENT
        each = plan(query, rows, number=number, noise_multiplier=multiplier, simulated=simulated, **places)
        made.append(replace(each, query=replace(each.query, sentinels=sentinels)))
    return tuple(made)


def honest(
    shares: Sequence[float] = (0.2, 0.3, 0.5),
    epsilon: float | None = 3.0,
    *,
    void: Sequence[int] = (),
    trends: Sequence[int] = (),
    simulated: bool = True,
    sentinels: int = 64,
    rows: int = 70,
    delta: float = 1e-5,
    places: Mapping[str, Any] = MappingProxyType({}),
) -> Draft:
    """A run whose rounds spend the budget in these shares.

    Args:
        void: numbers of rounds that release nothing.
        trends: numbers of rounds whose purpose is trends, not training.
        places: what all plans change: `IN_SHARES`, for example.
    """
    plans = plans_of(shares, epsilon, delta, sentinels=sentinels, simulated=simulated, rows=rows, places=places)
    purposes = () if epsilon is None else (PurposeBudget(Purpose.TRAIN, epsilon),)
    kinds = tuple(Purpose.TRENDS if made.round in trends else Purpose.TRAIN for made in plans)
    schedule = Schedule("run", plans, epsilon, delta)
    stamp = Stamp.SIMULATED if simulated else Stamp.PRODUCTION
    policy = rules(epsilon, stamp, parts.Additions.REFUSED, purposes, delta)
    opt_outs = PseudonymList(EPOCH_KEY, OPTED_OUT).commitment
    first = entries.PolicyEntry(
        sha256(policy).digest(), KEY.public, stamp, schedule.unit, schedule.adjacency, epsilon, delta,
        purposes, parts.Additions.REFUSED, 2,
    )  # fmt: skip
    bodies: list[Body] = [
        first,
        entries.ScheduleEntry(schedule, kinds),
        entries.EnrolmentEntry(len(PEOPLE), key_commitment(EPOCH_KEY)),
        entries.OptOutEntry(opt_outs.size, opt_outs.root),
    ]
    released = []
    squares = 0.0
    for made, purpose in zip(plans, kinds, strict=True):
        squares += made.noise_multiplier**-2 if made.noise_multiplier else math.inf
        together = None if epsilon is None else epsilon_of([squares**-0.5], delta)
        reserve = ReserveEntry(purpose, made, Basis.SCHEDULED, Spent(together, delta, made.round))
        bodies.append(reserve)
        index = len(bodies) - 1
        if made.round in void:
            bodies.append(entries.VoidEntry(index, "1 devices took part, the minimum is 2"))
            continue
        bodies.append(release_of(index, reserve, schedule, opt_outs, START + OPT_OUTS))
        released.append(index + 1)
    if released:
        model, manifest = sha256(b"model").digest(), sha256(b"manifest").digest()
        bodies.append(entries.PublicationEntry("run", tuple(released), manifest, model, spent(plans, epsilon, delta)))
    return Draft(tuple(bodies), policy=policy)


def note_of(lines: Sequence[bytes], key: SigningKey = KEY, origin: str = ORIGIN) -> bytes:
    """The signed checkpoint over these lines."""
    tree = Tree(leaf_hash(line.removesuffix(b"\n")) for line in lines)
    return Checkpoint(origin, tree.size, tree.root()).sign(Signer(origin, key)).encode()


def keep(folder: Path, draft: Draft) -> Path:
    """The honest integers of every release of this draft, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for body in draft.bodies:
        if isinstance(body, ReleaseEntry):
            kept = integers_of(body.plan, sentinels_of(body.plan))
            (folder / f"{body.plan.round:04d}.i8").write_bytes(kept)
    return folder


def write(folder: Path, draft: Draft, key: SigningKey = KEY) -> Path:
    """A run folder of this draft, without its integers."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = draft.lines(key)
    (folder / "ledger.jsonl").write_bytes(b"".join(lines))
    (folder / "checkpoint").write_bytes(note_of(lines, key, draft.origin))
    (folder / "coordinator.pub").write_text(key.public.hex() + "\n")
    (folder / "policy.toml").write_bytes(draft.policy)
    return folder
