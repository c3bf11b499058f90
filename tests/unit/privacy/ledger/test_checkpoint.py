"""Checkpoints: whose log, how large, and who vouches for it."""

import pytest

from backrow.privacy.errors import NoteError, SignatureError
from backrow.privacy.ledger.checkpoint import Checkpoint, open_checkpoint
from backrow.privacy.ledger.keys import Kind, VerifierKey
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.tree import EMPTY_ROOT, sha256
from backrow.privacy.signing import SigningKey
from tests.unit.privacy.ledger.samples import KEY, LOG, ORIGIN, WITNESS

ROOT = sha256(b"root")
CHECKPOINT = Checkpoint(ORIGIN, 7, ROOT)
NOTE = CHECKPOINT.sign(Signer(ORIGIN, KEY))
SECOND = Signer("witness.example/w2", SigningKey(b"v" * 32), Kind.COSIGNATURE)


def with_witnesses(*witnesses: Signer) -> bytes:
    return Note(NOTE.text, (*NOTE.signatures, *(witness.sign(NOTE.text, time=5) for witness in witnesses))).encode()


def test_a_signed_checkpoint_is_opened_with_its_log_s_key() -> None:
    opened = open_checkpoint(NOTE.encode(), LOG)
    assert opened.checkpoint == CHECKPOINT
    assert opened.note == NOTE.encode()


def test_extension_lines_are_kept_and_signed() -> None:
    extended = Checkpoint(ORIGIN, 7, ROOT, ("first", "second line"))
    data = extended.sign(Signer(ORIGIN, KEY)).encode()
    assert open_checkpoint(data, LOG).checkpoint == extended
    with pytest.raises(SignatureError):
        open_checkpoint(data.replace(b"second", b"third!"), LOG)


def test_another_key_or_another_log_is_refused() -> None:
    with pytest.raises(SignatureError):
        open_checkpoint(NOTE.encode(), VerifierKey(ORIGIN, SECOND.key.public))
    with pytest.raises(SignatureError):
        open_checkpoint(NOTE.encode(), VerifierKey("backrow/other", KEY.public))
    text = Checkpoint("backrow/other", 7, ROOT).text()
    disguised = Note(text, (Signer(ORIGIN, KEY).sign(text),)).encode()
    with pytest.raises(NoteError, match="is of 'backrow/other'"):
        open_checkpoint(disguised, LOG)


def test_a_quorum_counts_witnesses_that_are_known() -> None:
    known = [WITNESS.verifier, SECOND.verifier]
    assert len(open_checkpoint(with_witnesses(WITNESS, SECOND), LOG, known, quorum=2).cosignatures) == 2
    for witnesses, trusted in (((WITNESS,), known), ((WITNESS, SECOND), [WITNESS.verifier]), ((), known)):
        with pytest.raises(SignatureError, match="2 must"):
            open_checkpoint(with_witnesses(*witnesses), LOG, trusted, quorum=2)


def test_one_witness_under_two_names_is_one_witness() -> None:
    alias = Signer("witness.example/alias", WITNESS.key, Kind.COSIGNATURE)
    with pytest.raises(SignatureError, match="1 known"):
        open_checkpoint(with_witnesses(WITNESS, alias), LOG, [WITNESS.verifier, alias.verifier], quorum=2)


def test_a_log_cannot_be_its_own_witness() -> None:
    own = Signer("witness.example/w1", KEY, Kind.COSIGNATURE)
    with pytest.raises(ValueError, match="key of its own"):
        open_checkpoint(with_witnesses(own), LOG, [own.verifier], quorum=1)


def test_a_false_cosignature_of_a_known_witness_condemns_the_checkpoint() -> None:
    other = Checkpoint(ORIGIN, 8, ROOT).text()
    data = Note(NOTE.text, (*NOTE.signatures, WITNESS.sign(other, time=5))).encode()
    assert open_checkpoint(data, LOG).cosignatures == ()
    with pytest.raises(SignatureError):
        open_checkpoint(data, LOG, [WITNESS.verifier])


def test_a_witness_cosigns_and_a_log_does_not() -> None:
    opened = open_checkpoint(NOTE.encode(), LOG)
    signature = opened.cosign(WITNESS, time=9)
    Note(NOTE.text, (signature,)).verified([WITNESS.verifier])
    with pytest.raises(ValueError, match="kind COSIGNATURE"):
        opened.cosign(Signer(ORIGIN, KEY), time=9)


def test_a_checkpoint_is_signed_by_the_key_of_its_name_only() -> None:
    for signer in (Signer("backrow/other", KEY), Signer(ORIGIN, KEY, Kind.COSIGNATURE)):
        with pytest.raises(ValueError, match="signed by the key of that name"):
            CHECKPOINT.sign(signer)


GOOD = CHECKPOINT.text().splitlines()


@pytest.mark.parametrize(
    "lines",
    [
        GOOD[:2],
        ["", *GOOD[1:]],
        [GOOD[0], "07", GOOD[2]],
        [GOOD[0], "+7", GOOD[2]],
        [GOOD[0], "-1", GOOD[2]],
        [GOOD[0], "", GOOD[2]],
        [GOOD[0], "7 ", GOOD[2]],
        [GOOD[0], "\u0667", GOOD[2]],
        [GOOD[0], "9223372036854775808", GOOD[2]],
        [GOOD[0], "9" * 5000, GOOD[2]],
        [GOOD[0], "7", GOOD[2][:-4]],
        [GOOD[0], "7", GOOD[2].rstrip("=")],
        [GOOD[0], "0", GOOD[2]],
        [*GOOD, ""],
        [*GOOD, "", "extension"],
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused(lines: list[str]) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse("\n".join(lines) + "\n")


def test_a_text_without_its_last_newline_is_refused() -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(CHECKPOINT.text()[:-1])


def test_the_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert Checkpoint.parse(empty.text()) == empty
