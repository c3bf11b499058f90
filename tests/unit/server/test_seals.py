"""Sealed lists: written when they change, found again after a crash, and no release of anybody on them."""

from pathlib import Path

import pytest

from backrow.privacy.errors import OptOutError, SuppressionError
from backrow.privacy.ledger.entries import OptOutEntry, ReleaseEntry, VoidEntry
from backrow.privacy.statements import digest
from backrow.server.book import Book
from backrow.server.suppression import SUPPRESSION, SuppressionList
from tests.unit.server.test_book import COHORT, EPOCH, KEY, MADE_OF, entries, policy, schedule
from tests.unit.server.test_suppression import add, lift, opt_out


def begin(folder: Path, listed: SuppressionList) -> Book:
    return Book.begin(folder, KEY, policy(), schedule(), 100, EPOCH, lambda: 142, listed)


def sealed(folder: Path) -> list[tuple[int, int | None]]:
    return [(each.body.size, each.body.asked) for each in entries(folder) if isinstance(each.body, OptOutEntry)]


@pytest.fixture
def listed(tmp_path: Path) -> SuppressionList:
    made = SuppressionList.create(tmp_path / "coordinator")
    add(made, opt_out("d1"), at=90)
    return made


def test_a_ledger_begins_with_the_list_as_it_is(tmp_path: Path, listed: SuppressionList) -> None:
    book = begin(tmp_path, listed)
    assert sealed(tmp_path) == [(1, 90)]
    assert book.seals.lists == {3: ("d1",)}


def test_a_list_is_sealed_when_it_has_changed_and_only_then(tmp_path: Path, listed: SuppressionList) -> None:
    book = begin(tmp_path, listed)
    assert book.seal(listed) == {"d1"}
    add(listed, opt_out("d2"), at=120)
    add(listed, opt_out("d3"), at=110)
    assert book.seal(listed) == book.seal(listed) == {"d1", "d2", "d3"}
    add(listed, lift("d2", 2), at=130)
    book.seal(listed)
    add(listed, opt_out("d2", 3))
    add(listed, lift("d2", 4))
    book.seal(listed)
    assert sealed(tmp_path) == [(1, 90), (3, 110), (2, None)]
    assert list(book.seals.lists.values()) == [("d1",), ("d1", "d2", "d3"), ("d1", "d3")]


def test_nothing_is_released_of_anybody_on_the_list_and_the_budget_stays_spent(
    tmp_path: Path, listed: SuppressionList
) -> None:
    book = begin(tmp_path, listed)
    reservation = book.reserve(schedule().rounds[0])
    for survivors in (("a", "b", "d1"), ("d1",)):
        with pytest.raises(OptOutError, match="1 devices that had opted out"):
            book.release(reservation, COHORT, 3, "ab" * 32, (), MADE_OF, survivors=survivors)
    spent = book.spent
    book.void(reservation, "somebody had opted out")
    assert book.spent == spent
    assert not any(isinstance(each.body, ReleaseEntry) for each in entries(tmp_path))
    assert isinstance(entries(tmp_path)[-1].body, VoidEntry)


def test_a_release_names_the_list_that_was_sealed_last(tmp_path: Path, listed: SuppressionList) -> None:
    book = begin(tmp_path, listed)
    reservation = book.reserve(schedule().rounds[0])
    add(listed, opt_out("d2"))
    book.seal(listed)
    receipt = book.release(reservation, COHORT, 2, "ab" * 32, (), MADE_OF, survivors=("b", "a"))
    written = entries(tmp_path)
    late, release = written[-2].body, written[receipt.index].body
    assert isinstance(late, OptOutEntry)
    assert isinstance(release, ReleaseEntry)
    assert release.crowd.opt_out_root == late.root
    assert release.crowd.survivors_root is not None
    assert book.survivors == {receipt.index: ("a", "b")}


def test_after_a_crash_every_sealed_list_is_found_again(tmp_path: Path, listed: SuppressionList) -> None:
    book = begin(tmp_path, listed)
    for signed in (opt_out("d2"), opt_out("d3"), lift("d1", 2)):
        add(listed, signed)
        book.seal(listed)
    lists = dict(book.seals.lists)
    book.close()
    again = Book.resume(tmp_path, KEY, policy(), schedule(), EPOCH, lambda: 142, SuppressionList.open(listed._folder))
    assert again.seals.lists == lists
    assert again.seals.people == {"d2", "d3"}


def test_every_sealed_list_commits_to_the_statements_that_made_it(tmp_path: Path, listed: SuppressionList) -> None:
    book, said = begin(tmp_path, listed), [listed.statements]
    for signed in (opt_out("d2"), lift("d1", 2), lift("d2", 2)):
        add(listed, signed)
        book.seal(listed)
        said.append(listed.statements)
    assert [len(lines) for lines in said] == [1, 2, 3, 4]
    committed = [each.body.statements for each in entries(tmp_path) if isinstance(each.body, OptOutEntry)]
    assert committed == [digest(lines) for lines in said]
    without = Book.begin(fresh(tmp_path), KEY, policy(), schedule(), 100, EPOCH, lambda: 142)
    assert entries(tmp_path / "fresh")[3].body == without.seals.entry(None)
    assert without.seals.entry(None).statements is None


def test_a_ledger_does_not_go_on_with_the_same_list_by_other_statements(
    tmp_path: Path, listed: SuppressionList
) -> None:
    begin(tmp_path, listed).close()
    other = SuppressionList.create(tmp_path / "other")
    add(other, opt_out("d1"), at=91)
    assert other.opted_out == listed.opted_out
    with pytest.raises(SuppressionError, match="older, or another one"):
        Book.resume(tmp_path, KEY, policy(), schedule(), EPOCH, lambda: 142, other)
    Book.resume(tmp_path, KEY, policy(), schedule(), EPOCH, lambda: 142, listed).close()


def fresh(folder: Path) -> Path:
    (folder / "fresh").mkdir()
    return folder / "fresh"


def test_a_ledger_does_not_go_on_with_another_list_or_without_one(tmp_path: Path, listed: SuppressionList) -> None:
    path = tmp_path / "coordinator" / SUPPRESSION
    book, before = begin(tmp_path, listed), path.read_bytes()
    add(listed, opt_out("d2"))
    book.seal(listed)
    book.close()
    other = SuppressionList.create(tmp_path / "other")
    add(other, opt_out("d2"))
    add(other, opt_out("d3"))
    path.write_bytes(before)
    for wrong in (SuppressionList.open(tmp_path / "coordinator"), other, None):
        with pytest.raises(SuppressionError, match="older, or another one"):
            Book.resume(tmp_path, KEY, policy(), schedule(), EPOCH, lambda: 142, wrong)
