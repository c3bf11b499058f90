"""The C2SP specifications' own examples, byte for byte, and a checkpoint that real witnesses cosigned.

From github.com/C2SP/C2SP (CC-BY 4.0), golang.org/x/mod/sumdb/note and a public log's checkpoint.
"""

# ruff: noqa: E501 - a signature is one line

import pytest

from backrow.privacy.errors import NoteError, SignatureError
from backrow.privacy.ledger.checkpoint import Checkpoint, open_checkpoint
from backrow.privacy.ledger.keys import Kind, VerifierKey, from_base64, parse_skey, to_skey
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.proof import ConsistencyProof, TlogProof

# signed-note.md (v1.0.0, v1.1.0)
QUASIMODO = """Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
""".encode()
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
""".encode()

# golang.org/x/mod/sumdb/note
PETER_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
""".encode()

# tlog-checkpoint.md and tlog-cosignature.md
SOFA = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""
WITNESS_LINE = (
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZ"
    "qhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
COSIGNED = (SOFA + WITNESS_LINE).encode()
COSIGNED_MESSAGE = b"""cosignature/v1
time 1679315147
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
"""

# tlog-witness.md
ADD_CHECKPOINT = (
    """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

"""
    + SOFA
    + "— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnz"
    "v++qbSzm9Q=\n"
).encode()

# tlog-proof.md; its checkpoint is abridged there ("[...]"), so the one above takes its place.
TLOG_PROOF = (
    """c2sp.org/tlog-proof@v1
extra YWdlLXYxLjIuMS1kYXJ3aW4tYXJtNjQudGFyLmd6kYXJ3aW4tYXJ
index 73894
gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=
RoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=
AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=

"""
    + SOFA
).encode()

# A certificate log's checkpoint, signed by the log (once with a type that we do not know) and four witnesses.
REAL = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
""".encode()
REAL_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
REAL_WITNESSES = (
    "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
)


@pytest.mark.parametrize("data", [QUASIMODO, EXAMPLE, PETER, SOFA.encode(), COSIGNED, REAL])
def test_every_example_note_is_read_and_written_again_byte_for_byte(data: bytes) -> None:
    assert Note.parse(data).encode() == data


def test_the_text_of_a_note_ends_at_its_last_empty_line() -> None:
    assert Note.parse(QUASIMODO).text.endswith("trafitto da un raggio di sole:\n\ned è subito sera.\n")


@pytest.mark.parametrize(("data", "vkey"), [(EXAMPLE, EXAMPLE_KEY), (PETER, PETER_KEY)])
def test_example_notes_verify_with_their_keys_and_not_when_changed(data: bytes, vkey: str) -> None:
    key = VerifierKey.parse(vkey)
    assert str(key) == vkey
    Note.parse(data).verified([key])
    with pytest.raises(SignatureError, match="does not match"):
        Note.parse(data.replace(b"you", b"You").replace(b"example message", b"forged message")).verified([key])


def test_signing_with_a_published_key_gives_the_published_note() -> None:
    signer = Signer.from_skey(PETER_SECRET)
    text = Note.parse(PETER).text
    assert Note(text, (signer.sign(text),)).encode() == PETER
    assert str(signer.verifier) == PETER_KEY
    kind, name, seed = parse_skey(PETER_SECRET)
    assert to_skey(name, seed, kind) == PETER_SECRET


def test_the_checkpoint_of_the_specification() -> None:
    checkpoint = Checkpoint.parse(Note.parse(SOFA.encode()).text)
    assert checkpoint == Checkpoint(
        "example.com/behind-the-sofa", 20852163, from_base64("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    )
    assert checkpoint.text() + "\n" + SOFA.partition("\n\n")[2] == SOFA


def test_the_cosignature_of_the_specification() -> None:
    log, witness = Note.parse(COSIGNED).signatures
    assert log.name == "example.com/behind-the-sofa"
    assert witness.line() == WITNESS_LINE
    assert witness.time == 1679315147
    assert len(witness.payload) == 8 + 64


def test_a_witness_signs_the_message_of_the_specification() -> None:
    # The specification gives no key: any will do to see which bytes are signed.
    _, _, seed = parse_skey(PETER_SECRET)
    signer = Signer.from_skey(to_skey("witness.example.com/w1", seed, Kind.COSIGNATURE))
    made = signer.sign(Note.parse(COSIGNED).text, time=1679315147)
    assert made.payload == (1679315147).to_bytes(8, "big") + signer.key.sign_note(COSIGNED_MESSAGE)


def test_the_request_to_a_witness_is_read_and_written_again_byte_for_byte() -> None:
    proof = ConsistencyProof.parse(ADD_CHECKPOINT)
    assert (proof.old_size, len(proof.hashes)) == (20852014, 4)
    assert len(Note.parse(proof.checkpoint).signatures) == 2
    assert proof.encode() == ADD_CHECKPOINT


def test_the_proof_of_the_specification_is_read_and_written_again_byte_for_byte() -> None:
    proof = TlogProof.parse(TLOG_PROOF)
    assert (proof.index, len(proof.hashes)) == (73894, 5)
    assert proof.extra is not None
    assert proof.extra.startswith(b"age-v1.2.1-darwin-arm64.tar.gz")
    assert proof.checkpoint == SOFA.encode()
    assert proof.encode() == TLOG_PROOF


def test_a_public_log_and_four_real_witnesses_verify() -> None:
    witnesses = [VerifierKey.parse(vkey) for vkey in REAL_WITNESSES]
    assert {witness.kind for witness in witnesses} == {Kind.COSIGNATURE}
    opened = open_checkpoint(REAL, VerifierKey.parse(REAL_LOG), witnesses, quorum=4)
    assert opened.checkpoint.size == 1432088532
    assert {signature.time for signature in opened.cosignatures} == {1779573024}
    with pytest.raises(SignatureError):
        open_checkpoint(REAL.replace(b"1432088532", b"1432088533"), VerifierKey.parse(REAL_LOG), witnesses)


@pytest.mark.parametrize(
    "vkey",
    [
        EXAMPLE_KEY.replace("530d903a", "530d903b"),
        EXAMPLE_KEY.replace("foo", "fox"),
        EXAMPLE_KEY.removesuffix("k"),
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann",
        "",
    ],
)
def test_a_damaged_or_unknown_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(vkey)
