"""Signed notes: what counts as signed, and by whom."""

import pytest

from backrow.privacy.errors import NoteError, SignatureError
from backrow.privacy.ledger.keys import Kind, VerifierKey, to_skey
from backrow.privacy.ledger.note import MOST_SIGNATURES, Note, Signature, Signer
from backrow.privacy.signing import SigningKey, verify_note

ALICE = Signer("alice.example", SigningKey(b"a" * 32))
BOB = Signer("bob.example", SigningKey(b"b" * 32))
TEXT = "one\n\ntwo\n"


def note(*signers: Signer, text: str = TEXT) -> Note:
    return Note(text, tuple(signer.sign(text) for signer in signers))


def forged(signature: Signature) -> Signature:
    return Signature(signature.name, signature.key_id, bytes([signature.payload[0] ^ 1]) + signature.payload[1:])


def test_a_note_is_verified_by_whichever_signer_is_known() -> None:
    signed = Note.parse(note(ALICE, BOB).encode())
    assert signed.text == TEXT
    for signer in (ALICE, BOB):
        (signature,) = signed.verified([signer.verifier])
        assert signature.name == signer.name
    assert len(signed.verified([ALICE.verifier, BOB.verifier])) == 2


def test_signatures_of_strangers_are_ignored_even_damaged_ones() -> None:
    signed = note(ALICE, BOB)
    damaged = Note(TEXT, (signed.signatures[0], forged(signed.signatures[1])))
    assert len(damaged.verified([ALICE.verifier])) == 1


def test_a_known_signature_that_does_not_match_condemns_the_note() -> None:
    signed = note(ALICE, BOB)
    damaged = Note(TEXT, (signed.signatures[0], forged(signed.signatures[1])))
    with pytest.raises(SignatureError, match="does not match"):
        damaged.verified([ALICE.verifier, BOB.verifier])


def test_a_note_by_nobody_known_is_not_signed() -> None:
    with pytest.raises(SignatureError, match=r"not signed by 'bob\.example'"):
        note(ALICE).verified([BOB.verifier])
    with pytest.raises(SignatureError, match="not signed by nobody"):
        note(ALICE).verified([])


def test_a_name_or_an_id_alone_is_a_stranger() -> None:
    same_name = Signer(ALICE.name, SigningKey(b"x" * 32))
    with pytest.raises(SignatureError, match="not signed by"):
        note(same_name).verified([ALICE.verifier])
    taken_id = Signature("mallory.example", ALICE.verifier.key_id, note(ALICE).signatures[0].payload)
    with pytest.raises(SignatureError, match="not signed by"):
        Note(TEXT, (taken_id,)).verified([ALICE.verifier])


def test_a_known_name_and_id_with_another_key_does_not_match() -> None:
    payload = note(Signer(ALICE.name, SigningKey(b"x" * 32))).signatures[0].payload
    with pytest.raises(SignatureError, match="does not match"):
        Note(TEXT, (Signature(ALICE.name, ALICE.verifier.key_id, payload),)).verified([ALICE.verifier])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        note(ALICE).encode()[:-1],
        note(ALICE).encode() + b"more\n",
        note(ALICE).encode() + b"\n",
        b"\xff" + note(ALICE).encode(),
        b"\x01" + note(ALICE).encode(),
        b"\t" + note(ALICE).encode(),
        note(ALICE).encode().replace(b"\n", b"\r\n"),
        note(ALICE).encode().replace("—".encode(), b"-"),
        note(ALICE).encode().replace("— ".encode(), "—".encode()),
        note(ALICE).encode().replace(b"alice.example", b"alice+example"),
        note(ALICE).encode().replace(b"alice.example", b"alice example"),
        note(ALICE).encode().replace(b"alice.example", "alice\u00a0example".encode()),
        note(ALICE).encode().replace(b"alice.example ", b" "),
        note(ALICE).encode().replace(b"=\n", b"\n"),
        (TEXT + "\n— alice.example AAAA\n").encode(),
        (TEXT + "\n— alice.example AAAAAA==\n").encode(),
        b"x" * (2**20 + 1),
    ],
)
def test_a_damaged_note_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError):
        Note.parse(data)


def test_base64_has_one_spelling_only() -> None:
    line = note(ALICE).signatures[0].line()
    assert line.endswith("=\n")
    changed = line[:-3] + chr(ord(line[-3]) + 1) + "=\n"  # the same bytes to a lenient reader
    with pytest.raises(NoteError, match="not base64"):
        Signature.parse(changed)


def test_a_line_separator_hides_no_second_signature() -> None:
    name = "alice\u2028example"
    with pytest.raises(NoteError, match="cannot be a key's name"):
        Note.parse(note(ALICE).encode().replace(b"alice.example", name.encode()))


def test_many_signatures_are_read_and_too_many_refused() -> None:
    signature = note(ALICE).signatures[0]
    assert len(Note.parse(Note(TEXT, (signature,) * MOST_SIGNATURES).encode()).signatures) == MOST_SIGNATURES
    with pytest.raises(NoteError, match="at most"):
        Note.parse(Note(TEXT, (signature,) * (MOST_SIGNATURES + 1)).encode())


def test_the_same_key_signs_differently_as_a_witness() -> None:
    witness = Signer(ALICE.name, ALICE.key, Kind.COSIGNATURE)
    assert witness.verifier.key_id != ALICE.verifier.key_id
    cosigned = Note(TEXT, (witness.sign(TEXT, time=42),))
    (signature,) = cosigned.verified([witness.verifier])
    assert signature.time == 42
    with pytest.raises(SignatureError):
        cosigned.verified([ALICE.verifier])


def test_the_time_of_a_cosignature_is_signed() -> None:
    witness = Signer("w", ALICE.key, Kind.COSIGNATURE)
    signature = witness.sign(TEXT, time=42)
    later = Signature("w", signature.key_id, (43).to_bytes(8, "big") + signature.payload[8:])
    with pytest.raises(SignatureError):
        Note(TEXT, (later,)).verified([witness.verifier])


def test_only_a_cosignature_carries_a_time() -> None:
    with pytest.raises(ValueError, match="carries no time"):
        ALICE.sign(TEXT, time=1)
    for time in (None, -1, 2**63):
        with pytest.raises(ValueError, match="says when"):
            Signer("w", ALICE.key, Kind.COSIGNATURE).sign(TEXT, time=time)


@pytest.mark.parametrize("text", ["no newline", "a\tb\n", "\ud800\n", "null\0\n"])
def test_what_is_no_text_of_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        ALICE.sign(text)


def test_a_note_never_passes_for_anything_else_signed_with_the_key() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        ALICE.key.sign_note(b"\x00\x10backrow/entry/1 payload")
    signature = ALICE.key.sign("backrow/entry/1", b"payload")
    with pytest.raises(SignatureError, match="not over a note"):
        verify_note(ALICE.key.public, b"\x00\x0fbackrow/entry/1payload", signature)


def test_a_key_goes_through_its_strings() -> None:
    for kind in Kind:
        signer = Signer.from_skey(to_skey("w.example/1", b"s" * 32, kind))
        assert VerifierKey.parse(str(signer.verifier)) == signer.verifier
        assert signer.verifier.kind is kind


@pytest.mark.parametrize(
    "skey", ["", "PRIVATE+KEY+", to_skey("a", b"s" * 32)[12:], to_skey("a", b"s" * 32).replace("+a+", "+b+")]
)
def test_a_damaged_signing_key_is_refused(skey: str) -> None:
    with pytest.raises(NoteError):
        Signer.from_skey(skey)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb"])
def test_a_key_has_a_one_word_name(name: str) -> None:
    with pytest.raises(NoteError, match="cannot be a key's name"):
        VerifierKey(name, ALICE.key.public)


def test_a_newer_signature_replaces_an_older_one_by_the_same_key() -> None:
    witness = Signer("w", BOB.key, Kind.COSIGNATURE)
    first = note(ALICE).with_signature(witness.sign(TEXT, time=1))
    second = first.with_signature(witness.sign(TEXT, time=2))
    assert [s.name for s in second.signatures] == ["alice.example", "w"]
    assert second.signatures[1].time == 2
