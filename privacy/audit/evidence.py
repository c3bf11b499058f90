"""What an auditor has in hand: the files of a run, and what she brought herself. Reading only; nothing is judged."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backrow.privacy.bundle import MANIFEST, MODEL
from backrow.privacy.errors import LedgerError, NoteError
from backrow.privacy.ledger.files import CHECKPOINT, LEDGER, lines_of
from backrow.privacy.ledger.keys import Kind, VerifierKey
from backrow.privacy.ledger.pseudonyms import KEY_BYTES
from backrow.privacy.ledger.tree import leaf_hash
from backrow.privacy.signing import PUBLIC_KEY_BYTES

PUBLIC_KEY, POLICY, BUNDLE, LISTS = "coordinator.pub", "policy.toml", "bundle", "auditor/lists.json"
RELEASES = "releases"
LISTS_FORMAT = "backrow-lists/1"
_PART = 10_000
"""Names written at a time, and on one line."""
_HEX_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The two files of a bundle whose hashes a publication names; None where one is missing."""

    manifest: bytes | None
    model: bytes | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """The files of one run.

    Attributes:
        note: of the checkpoint; None if it is missing.
        public: what coordinator.pub says; trusted less than a pinned key.
        policy: policy.toml; None if it is missing.
        bare: only a ledger was handed over, no run folder: the other files are not expected.
        bundle: None if there is none.
        releases: folder of the released integers; None if there is none.
    """

    source: str
    note: bytes | None
    public: bytes | None = None
    policy: bytes | None = None
    bare: bool = False
    bundle: Bundle | None = None
    releases: Path | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint that somebody else has seen of this ledger.

    Attributes:
        name: how the auditor calls it.
        note: the signed note.
        leaves: hashes of all its entries, where they are known: they allow a fork to be proved in every case.
    """

    name: str
    note: bytes
    leaves: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Whose cosignatures the auditor trusts.

    Attributes:
        keys: of witnesses; the kind of each is COSIGNATURE.
        demanded: how many, with different keys, must stand behind the checkpoint.
    """

    keys: tuple[VerifierKey, ...] = ()
    demanded: int = 0

    def __post_init__(self) -> None:
        if any(key.kind is not Kind.COSIGNATURE for key in self.keys):
            raise LedgerError("a witness' key is the word that `backrow witness` prints: a coordinator's is none")
        if not 0 <= self.demanded <= len({key.public for key in self.keys}):
            raise LedgerError(f"{self.demanded} witnesses are demanded: name the keys of at least as many")


@dataclass(frozen=True, slots=True)
class Lists:
    """The secret part of an audit: who took part and who opted out, and the keys they were hashed under.

    Attributes:
        keys: 32 bytes each; the ledger says which was in force when.
        participants: index of a ReleaseEntry to the pseudonyms of everyone invited.
        opt_outs: index of an OptOutEntry to the pseudonyms on that list.
        survivors: index of a ReleaseEntry to the pseudonyms of those in the sum, where that is known.
        statements: lines of the coordinator's journal (`privacy.statements`), not yet believed; None: not handed over.
    """

    keys: tuple[bytes, ...]
    participants: Mapping[int, Sequence[str]] = field(default_factory=dict)
    opt_outs: Mapping[int, Sequence[str]] = field(default_factory=dict)
    survivors: Mapping[int, Sequence[str]] = field(default_factory=dict)
    statements: Sequence[bytes] | None = None

    @classmethod
    def parse(cls, data: bytes) -> "Lists":
        """The lists in a JSON file: format, keys (hex), participants, opt_outs and survivors (index to list).

        Instead of a list, the index of an earlier entry with the same one. And statements, one after the other: objects
        with at, pseudonym and statement (hex).

        Raises:
            LedgerError: it is no such file.
        """
        try:
            read: dict[str, Any] = json.loads(data)
            if read.get("format") != LISTS_FORMAT:
                raise ValueError(f"its format is not {LISTS_FORMAT}")
            keys = tuple(bytes.fromhex(key) for key in read["keys"])
            if any(len(key) != KEY_BYTES for key in keys):
                raise ValueError(f"a key has {KEY_BYTES} bytes")
            invited, asked, summed = (_people(read.get(name, {})) for name in ("participants", "opt_outs", "survivors"))
            return cls(keys, invited, asked, summed, _journal(read.get("statements")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            raise LedgerError(f"this is not a file of pseudonym lists ({problem}): see docs/audit-guide.md") from None

    def encode(self) -> bytes:
        """The JSON file: a few million names are written in parts."""
        keys = json.dumps([key.hex() for key in self.keys]).encode()
        tables = {"opt_outs": self.opt_outs, "participants": self.participants, "survivors": self.survivors}
        fields = [b'"format": "%s"' % LISTS_FORMAT.encode(), b'"keys": %s' % keys]
        fields += [b'"%s": %s' % (name.encode(), _table(table)) for name, table in tables.items()]
        if self.statements is not None:
            fields.append(b'"statements": [%s]' % b",\n  ".join(line.strip() for line in self.statements))
        return b"{\n " + b",\n ".join(fields) + b"\n}\n"


def ledger_path(run: Path) -> Path:
    """The ledger of a run folder, or the file itself."""
    return run / LEDGER if run.is_dir() else run


def read_evidence(run: Path, bundle: Path | None = None, releases: Path | None = None) -> Evidence:
    """Every file beside the entries. What is missing or unreadable is None.

    Args:
        run: a run folder, or a ledger file with its checkpoint beside it.
        bundle: folder of a model bundle; by default the one in the run folder.
        releases: folder of the released integers; by default the one in the run folder.
    """
    folder = run if run.is_dir() else run.parent
    where = bundle or folder / BUNDLE
    held = Bundle(_read(where / MANIFEST), _read(where / MODEL)) if where.is_dir() or bundle else None
    return Evidence(
        str(run),
        _read(folder / CHECKPOINT),
        _read(folder / PUBLIC_KEY),
        _read(folder / POLICY),
        bare=not run.is_dir(),
        bundle=held,
        releases=kept if (kept := releases or folder / RELEASES).is_dir() else None,
    )


@contextmanager
def open_lines(run: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a ledger with their newlines, one after the other.

    Raises:
        OSError: there is no ledger, or it cannot be read.
        DamagedLedgerError: a line is longer than any entry.
    """
    with ledger_path(run).open("rb") as file:
        yield lines_of(file)


def read_seen(path: Path) -> Seen:
    """A checkpoint file, or a folder with a checkpoint and perhaps its ledger.

    Raises:
        LedgerError: it cannot be read.
    """
    try:
        if not path.is_dir():
            return Seen(str(path), path.read_bytes())
        leaves: tuple[bytes, ...] = ()
        if (path / LEDGER).is_file():
            with open_lines(path) as lines:
                leaves = tuple(leaf_hash(line.removesuffix(b"\n")) for line in lines)
        return Seen(str(path), (path / CHECKPOINT).read_bytes(), leaves)
    except OSError as problem:
        raise LedgerError(f"{problem.filename} cannot be read ({problem.strerror}): check the path") from None


def read_key(data: bytes) -> bytes:
    """A public key as a file or word says it: 64 hex digits, a C2SP vkey, or 32 raw bytes.

    Raises:
        NoteError: it is none of these.
    """
    if len(data) == PUBLIC_KEY_BYTES:
        return data
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        raise NoteError("this is not a public key: it is neither hex, nor a vkey, nor 32 bytes") from None
    return bytes.fromhex(text) if _HEX_KEY.fullmatch(text) else VerifierKey.parse(text).public


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _table(table: Mapping[int, Sequence[str]]) -> bytes:
    """Index to list, or to the index of the entry before it whose list it repeats."""
    lines: list[bytes] = []
    last: int | None = None
    for index in sorted(table):
        if last is not None and table[index] == table[last]:
            lines.append(b'"%d": %d' % (index, last))
        else:
            lines.append(b'"%d": %s' % (index, _list(table[index])))
            last = index
    return b"{" + b",\n  ".join(lines) + b"}"


def _list(people: Sequence[str]) -> bytes:
    parts = (json.dumps(list(people[start : start + _PART])) for start in range(0, len(people), _PART))
    return b"[" + b",\n   ".join(part[1:-1].encode() for part in parts) + b"]"


def _journal(statements: Any) -> tuple[bytes, ...] | None:
    """The lines as the coordinator spells them."""
    if statements is None:
        return None
    if not isinstance(statements, list) or not all(isinstance(each, dict) for each in statements):
        raise ValueError("its statements are no list of statements")
    return tuple(json.dumps(each, sort_keys=True).encode() + b"\n" for each in statements)


def _people(table: Any) -> dict[int, Sequence[str]]:
    people: dict[int, Sequence[str]] = {}
    for index, names in table.items():
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            people[int(index)] = tuple(names)
        elif type(names) is not int or not isinstance(table.get(str(names)), list):
            raise ValueError(f"entry {index} has no list of names")
    return {int(index): people[names if type(names) is int else int(index)] for index, names in table.items()}
