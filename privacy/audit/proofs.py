"""Portable proofs of single entries, and of one owner's absence from a committed list. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.errors import BackrowError, LedgerError, NoteError, ProofError
from backrow.privacy.ledger import canonical, fields
from backrow.privacy.ledger.checkpoint import SignedCheckpoint
from backrow.privacy.ledger.entries import EnrolmentEntry, OptOutEntry, ReleaseEntry
from backrow.privacy.ledger.proof import TlogProof
from backrow.privacy.ledger.pseudonyms import (
    AbsenceProof,
    Commitment,
    PseudonymList,
    check_list,
    key_commitment,
    keyed_hash,
)
from backrow.privacy.ledger.signed_entry import SignedEntry, decode_entry
from backrow.privacy.ledger.tree import Tree, leaf_hash
from backrow.privacy.ledger.verification import log_key

ABSENCE = "backrow-absence/1"


@dataclass(frozen=True, slots=True)
class Absence:
    """That one pseudonym is not on the list that an entry commits to.

    Attributes:
        absent: her keyed hash, 32 bytes; it names nobody without the key.
        entry: tlog-proof of the entry, with its line inside.
    """

    absent: bytes
    proof: AbsenceProof
    entry: bytes


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof shows.

    Attributes:
        absent: the keyed hash that is not on the entry's list; None for a plain proof of an entry.
    """

    entry: SignedEntry
    checkpoint: SignedCheckpoint
    absent: bytes | None


def prove_entry(lines: Iterable[bytes], note: bytes, index: int) -> TlogProof:
    """Proof that one entry is under a checkpoint; the entry's line travels inside, as `extra`.

    Args:
        lines: of the ledger, with newlines.
        note: the checkpoint.

    Raises:
        ValueError: there is no such entry.
    """
    tree, wanted = Tree(), b""
    for line in lines:
        text = line.removesuffix(b"\n")
        if tree.size == index:
            wanted = text
        tree.append(leaf_hash(text))
    return TlogProof(index, tuple(tree.inclusion_proof(index)), note, wanted)


def prove_absence(lines: list[bytes], note: bytes, index: int, lists: Lists, pseudonym: str) -> bytes:
    """Proof that a pseudonym is not on the list that entry `index` commits to. Runs where the lists are.

    Raises:
        LedgerError: the entry commits to no list, or the list or key handed over is another one.
        OptOutError: she is on the list.
        ValueError: there is no such entry.
    """
    plain = prove_entry(lines, note, index)
    entry = decode_entry(plain.extra or b"")
    people = (lists.participants if isinstance(entry.body, ReleaseEntry) else lists.opt_outs).get(index)
    if people is None:
        raise LedgerError(f"the lists hold none for entry {index}: ask the coordinator for it")
    key = _key_of(lines, entry, lists)
    listed = PseudonymList(key, people)
    check_list(listed, _commitment(entry))
    absent = keyed_hash(key, pseudonym)
    absence = Absence(absent, listed.prove_absence(absent), plain.encode())
    return canonical.encode({"format": ABSENCE, **fields.to_json(absence)}) + b"\n"


def check_proof(data: bytes, key: bytes) -> Proved:
    """What a proof shows, if it does. Offline, without the ledger.

    Args:
        data: a tlog-proof with its entry inside, or a proof of absence.
        key: the pinned public key, 32 bytes.

    Raises:
        NoteError: these bytes are no proof.
        SignatureError: the entry or the checkpoint is not signed by this key.
        ProofError: it does not prove what it says.
    """
    if data.startswith(b"{"):
        return _check_absence(data, key)
    proof = TlogProof.parse(data)
    if proof.extra is None:
        raise ProofError("the proof does not hold its entry: it was not made by `backrow audit prove`")
    signed = proof.verify(proof.extra, log_key(proof.checkpoint, key))
    try:
        entry = decode_entry(proof.extra)
    except BackrowError as problem:
        raise ProofError(f"what is proved is no entry of a ledger: {problem}") from None
    entry.verify(key)
    return Proved(entry, signed, None)


def _check_absence(data: bytes, key: bytes) -> Proved:
    try:
        read = canonical.decode(data.removesuffix(b"\n"))
        if read.pop("format", None) != ABSENCE:
            raise NoteError(f"this is no proof: its format is not {ABSENCE}")
        absence = fields.from_json(Absence, read)
    except (ValueError, LedgerError) as problem:
        raise NoteError(f"this is no proof of absence: {problem}") from None
    proved = check_proof(absence.entry, key)
    absence.proof.verify(absence.absent, _commitment(proved.entry))
    return replace(proved, absent=absence.absent)


def _commitment(entry: SignedEntry) -> Commitment:
    match entry.body:
        case ReleaseEntry(crowd=crowd):
            return Commitment(crowd.participants_size, crowd.participants_root)
        case OptOutEntry(size=size, root=root):
            return Commitment(size, root)
        case _:
            raise ProofError(f"entry {entry.index} is a {entry.kind} entry and commits to no list of people")


def _key_of(lines: list[bytes], entry: SignedEntry, lists: Lists) -> bytes:
    """The key in force at an entry: of the reservation, if it is a release."""
    until = entry.body.reserve if isinstance(entry.body, ReleaseEntry) else entry.index
    commitments = [
        body.key
        for line in lines[:until]
        if b'"kind":"enrolment"' in line
        and isinstance(body := decode_entry(line.removesuffix(b"\n")).body, EnrolmentEntry)
    ]
    for key in lists.keys:
        if commitments and key_commitment(key) == commitments[-1]:
            return key
    raise LedgerError(f"none of the keys in the lists is the one in force at entry {entry.index}: ask for it")
