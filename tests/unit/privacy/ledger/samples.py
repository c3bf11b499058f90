"""One entry of every kind, keys and small ledgers for tests."""

from dataclasses import replace
from pathlib import Path

from backrow.privacy.ledger import entries, parts
from backrow.privacy.ledger.checkpoint import Checkpoint
from backrow.privacy.ledger.entries import Body
from backrow.privacy.ledger.keys import Kind, VerifierKey
from backrow.privacy.ledger.note import Signer
from backrow.privacy.ledger.parts import Purpose, Spent, Stamp
from backrow.privacy.ledger.pseudonyms import EMPTY
from backrow.privacy.ledger.releases import release_entry
from backrow.privacy.ledger.signed_entry import sign_entry
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.ledger.tree import Tree, leaf_hash, sha256
from backrow.privacy.plan import Schedule
from backrow.privacy.signing import SigningKey
from backrow.privacy.units import Adjacency, PrivacyUnit
from tests.builders import plan

ORIGIN = "backrow/test"
KEY = SigningKey(b"k" * 32)
OTHER_KEY = SigningKey(b"o" * 32)
LOG = VerifierKey(ORIGIN, KEY.public)
WITNESS = Signer("witness.example/w1", SigningKey(b"w" * 32), Kind.COSIGNATURE)

PLAN = plan(noise_multiplier=2.5, population=100, minimum=2)
SCHEDULE = Schedule("run", (PLAN, replace(PLAN, round=2)), 3.0, 1e-5)
SPENT = Spent(1.9263, 1e-5, 1)
RESERVE = entries.ReserveEntry(Purpose.TRAIN, PLAN, parts.Basis.SCHEDULED, SPENT)
CROWD = parts.Crowd(
    invited=90,
    survived=88,
    minimum=2,
    neighbours=None,
    threshold=None,
    sampling=parts.Sampling.EVERYBODY,
    participation_bound=1,
    participants_size=90,
    participants_root=sha256(b"participants"),
    opt_out_root=EMPTY.root,
    opt_out_time=1003,
)
PROVENANCE = parts.Provenance(
    sha256(b"model in"), None, config=sha256(b"config"), code=sha256(b"code"), dependencies=sha256(b"lock")
)
RELEASE = release_entry(
    4, RESERVE, SCHEDULE, CROWD, PROVENANCE, sha256(b"values"), SPENT, ("closed form", "1"), (-3, 2**60, 0)
)

BODIES: tuple[Body, ...] = (
    entries.PolicyEntry(
        policy=sha256(b"policy"),
        coordinator=KEY.public,
        stamp=Stamp.SIMULATED,
        unit=PrivacyUnit.DEVICE,
        adjacency=Adjacency.ZERO_OUT,
        epsilon=3.0,
        delta=1e-5,
        purposes=(parts.PurposeBudget(Purpose.TRAIN, 2.5), parts.PurposeBudget(Purpose.TRENDS, 0.5)),
        additions=parts.Additions.REFUSED,
        minimum=2,
    ),
    entries.ScheduleEntry(SCHEDULE, (Purpose.TRAIN, Purpose.TRAIN)),
    entries.EnrolmentEntry(100, sha256(b"key")),
    entries.OptOutEntry(EMPTY.size, EMPTY.root),
    RESERVE,
    RELEASE,
    entries.VoidEntry(4, "1 devices took part, the minimum is 2"),
    entries.PublicationEntry("run", (5,), sha256(b"manifest"), sha256(b"model"), SPENT),
    entries.FindingEntry("noise-understated", (5,), "Römer found it – on paper."),
    entries.RetractionEntry(7, "the noise was understated"),
)


def lines(count: int = len(BODIES), origin: str = ORIGIN, key: SigningKey = KEY) -> list[bytes]:
    """The first entries of a ledger that holds every kind once."""
    return [sign_entry(key, origin, i, 1000 + i, BODIES[i % len(BODIES)]).encode() for i in range(count)]


def filled(folder: Path, count: int = len(BODIES)) -> Ledger:
    """An open ledger with these entries, one append each."""
    ledger = Ledger.create(folder, ORIGIN, KEY)
    for i in range(count):
        ledger.append(BODIES[i % len(BODIES)], 1000 + i)
    return ledger


def tree_of(texts: list[str]) -> Tree:
    """A tree over texts, where entries do not matter."""
    return Tree(leaf_hash(text.encode()) for text in texts)


def note_of(tree: Tree, size: int | None = None, key: SigningKey = KEY) -> bytes:
    """A signed checkpoint of a tree."""
    size = tree.size if size is None else size
    return Checkpoint(ORIGIN, size, tree.root(size)).sign(Signer(ORIGIN, key)).encode()
