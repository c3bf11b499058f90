"""What can be done to what lies beside a ledger: released integers, lists of people and what they have signed."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.forgery import Copy
from backrow.privacy.audit.kept import file_name
from backrow.privacy.consent import EVERYTHING, ConsentRecord, OptOutRequest, sign_opt_out, sign_record
from backrow.privacy.ledger.entries import EnrolmentEntry, OptOutEntry, ReleaseEntry
from backrow.privacy.ledger.pseudonyms import PseudonymList, key_commitment
from backrow.privacy.ledger.signed_entry import SignedEntry
from backrow.privacy.signing import SigningKey
from backrow.privacy.statements import Statement, digest

_OWNER = "an owner"


def _kept_file(copy: Copy, entry: SignedEntry) -> Path | None:
    body = entry.body
    return copy.kept / file_name(body.plan.round) if copy.kept is not None and isinstance(body, ReleaseEntry) else None


def other_numbers(copy: Copy) -> Copy | None:
    """One released integer changed."""
    release = copy.first(ReleaseEntry)
    if release is None or (path := _kept_file(copy, release)) is None or not (data := path.read_bytes()):
        return None
    return replace(copy, changed={path.name: bytes([data[0] ^ 1]) + data[1:]})


def take_out(copy: Copy) -> Copy | None:
    """The integers of one release removed."""
    files = {_kept_file(copy, each) for each in copy.entries if isinstance(each.body, ReleaseEntry)} - {None}
    names = sorted(path.name for path in files if path is not None)
    return replace(copy, changed={names[0]: None}) if len(names) > 1 else None


def other_noise(copy: Copy) -> Copy | None:
    """Noise as good as the true one, but not that of the released sum."""
    release = copy.first(ReleaseEntry)
    if copy.kept is None or release is None or not isinstance(release.body, ReleaseEntry):
        return None
    turned = release.body.sentinels[::-1]
    return None if turned == release.body.sentinels else copy.swap(release.index, sentinels=turned)


def taken_off(copy: Copy) -> Copy | None:
    """Somebody opts out, and is on the next list no more."""
    return _two_lists(copy, ())


def taken_off_by_another(copy: Copy) -> Copy | None:
    """As `taken_off`; a statement lifts her opt-out that her device has not signed."""
    record = ConsentRecord(copy.wrong.public, EVERYTHING, True, 2, copy.entries[-1].time)
    return _two_lists(copy, (Statement(_OWNER, record.at, sign_record(record, copy.wrong), record),))


def _two_lists(copy: Copy, lifting: tuple[Statement, ...]) -> Copy | None:
    """A made-up owner at the end of the ledger: on a list that is sealed, and not on the one after it.

    Who is on the last honest list stays on both. None where the ledger commits to statements that are not at hand.
    """
    sealed = [each for each in copy.entries if isinstance(each.body, OptOutEntry)]
    before = copy.secret.statements or () if copy.secret is not None else ()
    others = copy.secret.opt_outs.get(sealed[-1].index, ()) if copy.secret is not None and sealed else ()
    committed = [each.body.statements for each in sealed[-1:] if isinstance(each.body, OptOutEntry)]
    if committed not in ([], [None], [digest(before)]):
        return None
    secret, hers, now = sha256(copy.note).digest(), SigningKey(sha256(copy.lines[0]).digest()), copy.entries[-1].time
    record = ConsentRecord(hers.public, EVERYTHING, False, 1, now)
    asked = Statement(_OWNER, now, sign_opt_out(OptOutRequest(record, _OWNER), hers), record)
    lines = (*before, *(each.line() for each in (asked, *lifting)))
    enrolled = copy.first(EnrolmentEntry)
    devices = enrolled.body.devices if enrolled is not None and isinstance(enrolled.body, EnrolmentEntry) else 1
    on, off = (PseudonymList(secret, names).commitment for names in ([*others, _OWNER], others))
    place = len(copy.entries) + 1
    bodies = (
        EnrolmentEntry(devices, key_commitment(secret)),
        OptOutEntry(on.size, on.root, now, digest(lines[: len(before) + 1])),
        OptOutEntry(off.size, off.root, None, digest(lines)),
    )
    lied = copy.resigned((*(each.body for each in copy.entries), *bodies))
    named = {place: (*others, _OWNER), place + 1: tuple(others)}
    return replace(lied, lists=Lists((secret,), opt_outs=named, statements=lines))
