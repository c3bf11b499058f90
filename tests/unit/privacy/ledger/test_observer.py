"""Devices and witnesses: only a log that has grown is followed; a fork convicts its signer."""

from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.errors import ForkError, NoteError, ProofError, RollbackError, SignatureError
from backrow.privacy.ledger.checkpoint import open_checkpoint
from backrow.privacy.ledger.fork import ForkProof, prove_fork
from backrow.privacy.ledger.note import Note
from backrow.privacy.ledger.observer import View, witness
from backrow.privacy.ledger.proof import ConsistencyProof
from backrow.privacy.ledger.store import Ledger
from backrow.privacy.ledger.tree import Tree
from tests.unit.privacy.ledger.samples import (
    BODIES,
    KEY,
    LOG,
    ORIGIN,
    OTHER_KEY,
    WITNESS,
    filled,
    note_of,
    tree_of,
)

TEXTS = [f"entry {i}" for i in range(13)]
TREE = tree_of(TEXTS)


def fork(size: int) -> Tree:
    """Another log of 13 entries that shares all entries but one before `size`."""
    return tree_of([*TEXTS[: size - 1], "another entry", *TEXTS[size:]])


def update(old: int, new: int = 13, tree: Tree = TREE) -> ConsistencyProof:
    return ConsistencyProof(old, tuple(tree.consistency_proof(old, new)), note_of(tree, new))


def seen(size: int, tree: Tree = TREE) -> View:
    return View(LOG).advance(update(0, size, tree))


def leaves(tree: Tree, size: int = 13) -> list[bytes]:
    return [tree.leaf(i) for i in range(size)]


@pytest.mark.parametrize("old", range(14))
def test_a_log_that_has_grown_is_followed(old: int) -> None:
    for advanced in (
        seen(old).advance(update(old)),
        seen(old).advance_by_leaves(leaves(TREE), note_of(TREE)),
    ):
        assert advanced.size == 13
        assert advanced.note == note_of(TREE)
        assert View.restore(LOG, advanced.note) == advanced


def test_the_first_checkpoint_is_taken_on_trust_and_needs_no_proof() -> None:
    assert View.restore(LOG, None).advance(update(0, 5)).size == 5
    with pytest.raises(ProofError, match="seen no checkpoint"):
        View(LOG).advance(update(3, 5))


def test_a_log_signed_by_another_is_refused() -> None:
    forged = replace(update(4), checkpoint=note_of(TREE, key=OTHER_KEY))
    with pytest.raises(SignatureError):
        seen(4).advance(forged)
    with pytest.raises(SignatureError):
        seen(4).advance_by_leaves(leaves(TREE), forged.checkpoint)


@pytest.mark.parametrize("new", range(9))
def test_an_older_log_is_a_rollback(new: int) -> None:
    with pytest.raises(RollbackError, match="entries were taken back"):
        seen(9).advance(ConsistencyProof(new, (), note_of(TREE, new)))
    with pytest.raises(RollbackError):
        seen(9).advance_by_leaves(leaves(TREE, new), note_of(TREE, new))


def test_a_proof_from_another_size_is_refused() -> None:
    with pytest.raises(ProofError, match="begins at 4 entries, this party has seen 5"):
        seen(5).advance(update(4))


@pytest.mark.parametrize("old", range(1, 14))
def test_a_fork_is_refused_and_proved_by_the_leaves(old: int) -> None:
    other = fork(old)
    with pytest.raises(ForkError, match="contradict") as caught:
        seen(old).advance_by_leaves(leaves(other), note_of(other))
    older, newer = ForkProof.parse(caught.value.proof).verify(LOG)
    assert (older.size, newer.size) == (old, 13)
    assert (older.root, newer.root) == (TREE.root(old), other.root())


@pytest.mark.parametrize("old", range(1, 14))
def test_a_fork_is_refused_and_proved_by_its_own_consistency_proof_where_that_tells(old: int) -> None:
    # At a power of two the honest proof does not say what the forger's log had there.
    other, tells = fork(old), old & (old - 1) != 0
    with pytest.raises(ForkError if tells else ProofError) as caught:
        seen(old).advance(update(old, tree=other))
    if isinstance(caught.value, ForkError):
        ForkProof.parse(caught.value.proof).verify(LOG)
    else:
        assert not tells


def test_one_size_with_two_roots_needs_no_proof_to_convict() -> None:
    with pytest.raises(ForkError) as caught:
        seen(8).advance(ConsistencyProof(8, (), note_of(fork(8), 8)))
    ForkProof.parse(caught.value.proof).verify(LOG)


@pytest.mark.parametrize("sizes", [(5, 13), (13, 5), (8, 8), (8, 13), (1, 13)])
def test_whoever_has_both_logs_proves_the_fork(sizes: tuple[int, int]) -> None:
    other = fork(1)
    first = open_checkpoint(note_of(TREE, sizes[0]), LOG)
    second = open_checkpoint(note_of(other, sizes[1]), LOG)
    larger = TREE if sizes[0] > sizes[1] else other
    proof = prove_fork(first, second, larger)
    assert proof is not None
    proof.verify(LOG)
    assert ForkProof.parse(proof.encode()) == proof
    if sizes[0] != sizes[1]:
        with pytest.raises(ProofError, match="not of the log"):
            prove_fork(first, second, tree_of(TEXTS[:3]))


def test_an_honest_log_cannot_be_convicted() -> None:
    first, second = (open_checkpoint(note_of(TREE, size), LOG) for size in (5, 13))
    assert prove_fork(first, second, TREE) is None
    assert prove_fork(first, first, TREE) is None
    honest = ForkProof(first.note, second.note, TREE.root(5), tuple(TREE.consistency_proof(5)))
    with pytest.raises(ProofError, match="no fork"):
        honest.verify(LOG)
    for lie in (fork(5).root(5), bytes(32)):
        with pytest.raises(ProofError):
            replace(honest, other_root=lie).verify(LOG)
        with pytest.raises(ProofError):
            replace(honest, other_root=lie, hashes=tuple(fork(5).consistency_proof(5))).verify(LOG)
    with pytest.raises(ProofError):
        ForkProof(second.note, first.note, bytes(32), ()).verify(LOG)


def test_a_fork_signed_by_another_convicts_nobody() -> None:
    other = fork(5)
    forged = ForkProof(
        note_of(TREE, 5), note_of(other, key=OTHER_KEY), other.root(5), tuple(other.consistency_proof(5))
    )
    with pytest.raises(SignatureError):
        forged.verify(LOG)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format":"backrow-fork/2"}', b'{"format":"backrow-fork/1"}', b"\xff"])
def test_a_damaged_proof_of_a_fork_is_refused(data: bytes) -> None:
    with pytest.raises(NoteError, match="not a proof of a fork"):
        ForkProof.parse(data)


def test_leaves_that_do_not_make_the_checkpoint_are_refused() -> None:
    for given in (leaves(TREE, 12), [*leaves(TREE, 12), bytes(32)]):
        with pytest.raises(ProofError, match="not of these entries"):
            seen(4).advance_by_leaves(given, note_of(TREE))


def test_a_refusal_leaves_the_view_as_it_was() -> None:
    view = seen(9)
    with pytest.raises(RollbackError):
        view.advance(update(0, 3))
    assert view == seen(9)


def test_an_observer_that_demands_witnesses_follows_only_what_they_cosigned() -> None:
    demanding = View(LOG, None, (WITNESS.verifier,), quorum=1)
    with pytest.raises(SignatureError, match="1 must"):
        demanding.advance(update(0, 5))
    _, signature = witness(View(LOG), update(0, 5), WITNESS, time=77)
    cosigned = replace(update(0, 5), checkpoint=Note.parse(update(0, 5).checkpoint).with_signature(signature).encode())
    followed = demanding.advance(cosigned)
    assert followed.size == 5
    assert View.restore(LOG, followed.note, [WITNESS.verifier], 1) == followed
    with pytest.raises(SignatureError):
        followed.advance(update(5))


def test_a_witness_cosigns_what_has_grown_and_signs_nothing_else() -> None:
    view, first = witness(View(LOG), update(0, 5), WITNESS, time=1)
    view, second = witness(view, update(5), WITNESS, time=2)
    assert (view.size, first.time, second.time) == (13, 1, 2)
    Note(open_checkpoint(note_of(TREE), LOG).checkpoint.text(), (second,)).verified([WITNESS.verifier])
    for refused in (update(5), update(0, 5), update(7, tree=fork(7))):
        with pytest.raises((ProofError, RollbackError, ForkError)):
            witness(view, refused, WITNESS, time=3)


def test_a_stored_view_of_another_log_is_refused() -> None:
    with pytest.raises(SignatureError):
        View.restore(LOG, note_of(TREE, key=OTHER_KEY))


def test_a_coordinator_that_restores_an_older_ledger_is_found_out(tmp_path: Path) -> None:
    with filled(tmp_path, 5) as ledger:
        view = View(ledger.log).advance(ledger.consistency_proof(0))
    for file in tmp_path.iterdir():
        file.unlink()
    with filled(tmp_path, 4) as ledger:
        with pytest.raises(RollbackError):
            view.advance(ledger.consistency_proof(4))
        ledger.append_all([BODIES[6], BODIES[8], BODIES[9]], 3000)
        with pytest.raises(ForkError) as caught:
            view.advance(ledger.consistency_proof(5))
    ForkProof.parse(caught.value.proof).verify(LOG)


def test_a_coordinator_that_repairs_its_ledger_is_still_followed(tmp_path: Path) -> None:
    with Ledger.create(tmp_path, ORIGIN, KEY) as ledger:
        ledger.append_all(BODIES[:3], 1000)
        view = View(ledger.log).advance(ledger.consistency_proof(0))
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"body":{"half')
    with Ledger.open(tmp_path, KEY, 2000) as ledger:
        assert view.advance(ledger.consistency_proof(3)).size == 4
