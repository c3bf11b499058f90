"""The audit of noise that the devices add: the claim is what the fewest carry, the measure is what these carry."""

from dataclasses import replace
from pathlib import Path

import pytest

from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.verify import verify
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.ledger.fields import Wide
from backrow.privacy.ledger.parts import Mechanism
from tests.ledgers import IN_SHARES, KEY, RELEASE, SURVIVED, Draft, honest, sentinels_of, write

DRAFT = honest(sentinels=4096, rows=4100, places=IN_SHARES)


def release(draft: Draft = DRAFT) -> ReleaseEntry:
    body = draft.bodies[RELEASE]
    assert isinstance(body, ReleaseEntry)
    return body


def faults(folder: Path, draft: Draft) -> set[Fault]:
    return {finding.fault for finding in verify(write(folder, draft), KEY.public).findings}


def measured(draft: Draft, added: int) -> Draft:
    """The same, with so many shares in its first release."""
    return draft.swap(RELEASE, sentinels=tuple(map(Wide, sentinels_of(release(draft).plan, added=added))))


def test_an_honest_ledger_of_noise_in_shares_gives_no_finding(tmp_path: Path) -> None:
    report = verify(write(tmp_path, DRAFT), KEY.public)
    assert not report.findings
    first = report.sentinels[1]
    # 88 shares, of which 8 may be missing: a little more than the measure asks for.
    assert first.ratio == pytest.approx((SURVIVED / 80) ** 0.5, rel=0.04)


def test_the_entry_names_the_mechanism_and_claims_what_the_fewest_carry() -> None:
    made = release()
    assert made.mechanism is Mechanism.DISCRETE_GAUSSIAN_SHARES
    assert made.bits == 32
    assert made.noise_scale / made.sensitivity == pytest.approx(made.plan.noise_multiplier, rel=1e-15)


def test_omissions_up_to_the_stated_fraction_give_no_finding(tmp_path: Path) -> None:
    assert not faults(tmp_path, measured(DRAFT, SURVIVED - 8))


def test_noise_of_the_fewest_is_found_to_be_too_small_for_so_many_survivors(tmp_path: Path) -> None:
    # 54 shares carry the claim; 80 of 88 should be there, so a third of the devices left theirs out.
    assert faults(tmp_path, measured(DRAFT, 54)) == {Fault.QUIET}


def test_the_coordinator_s_mechanism_is_not_the_devices_one(tmp_path: Path) -> None:
    assert faults(tmp_path, DRAFT.swap(RELEASE, mechanism=Mechanism.ROUNDED_GAUSSIAN)) == {Fault.NOISE}


def test_noise_claimed_for_the_survivors_instead_of_the_fewest_is_named(tmp_path: Path) -> None:
    made = release()
    carried = made.plan.integer_noise_scale_at(SURVIVED) / made.plan.scale
    assert Fault.NOISE in faults(tmp_path, DRAFT.swap(RELEASE, noise_scale=carried))


def test_a_smaller_crowd_than_the_minimum_does_not_lower_the_measure(tmp_path: Path) -> None:
    # The plan promises its noise whatever the entry says of its crowd.
    crowd = replace(release().crowd, survived=1)
    assert Fault.QUIET in faults(tmp_path, measured(DRAFT, 30).swap(RELEASE, crowd=crowd))
