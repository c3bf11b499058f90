"""The demo's last act: the owner of a real device opts out, and what it says of that is true."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backrow.privacy.audit.proofs import check_proof
from backrow.privacy.ledger.entries import ReleaseEntry
from backrow.privacy.signing import SigningKey
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.demo_opt_out import findings, print_opt_out
from backrow.simulations.opt_out import PROOF, OptOut, opt_out
from backrow.simulations.opt_out_rounds import OWNERS, settings_of
from tests.hosted import IN_MEMORY
from tests.unit.simulations.small_data import two_tastes

KEY = SigningKey(bytes(range(32)))
NOW = 1_790_000_000


@pytest.fixture(scope="module", autouse=True)
def in_memory() -> Iterator[None]:
    """Every change of a vault waits for the disk; here there are a thousand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", IN_MEMORY)
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    dataset, folder = two_tastes(OWNERS + 2, 24), tmp_path_factory.mktemp("model") / "bundle"
    program = ModelProgram.start(settings_of(dataset), dataset.catalogue.features())
    write_first_bundle(folder, program.metadata, dataset.catalogue.records(), "first", KEY)
    return folder, dataset


@pytest.fixture(scope="module")
def act(bundle: tuple[Path, Dataset], tmp_path_factory: pytest.TempPathFactory) -> OptOut:
    return opt_out(*bundle, KEY, tmp_path_factory.mktemp("act") / "run", now=NOW)


def test_what_leaves_her_device_ends_with_her_consent(act: OptOut) -> None:
    allows, withdraws, told = act.moments
    assert (allows.asked, len(allows.left)) == (5, 5)
    assert (withdraws.asked, withdraws.left) == (1, ())  # asked, and nothing said
    assert (told.asked, told.left) == (0, ())  # not even asked
    assert [(moment.took_part, moment.invited) for moment in act.moments] == [
        (OWNERS, OWNERS),
        (OWNERS - 1, OWNERS),
        (OWNERS - 1, OWNERS - 1),
    ]
    assert sum(entry.releases for entry in allows.left) == 1
    assert [entry.purpose for entry in act.told] == [""]


def test_recommendations_go_on_and_are_the_same(act: OptOut) -> None:
    first, *others = act.moments
    assert len(first.picks) == 10
    assert all(moment.picks == first.picks for moment in others)


def test_the_coordinators_side_is_as_with_her_device_unplugged(act: OptOut) -> None:
    assert act.different == ()
    assert act.same > 70
    assert act.size > 50_000


def test_the_proof_of_her_absence_holds_with_the_public_key_alone(act: OptOut) -> None:
    proved = check_proof((act.folder / PROOF).read_bytes(), KEY.public)
    assert proved.absent is not None
    assert isinstance(proved.entry.body, ReleaseEntry)
    assert proved.entry.body.plan.round == 3
    assert act.findings == 0


def test_what_is_printed_says_so(act: OptOut, capsys: pytest.CaptureFixture[str]) -> None:
    print_opt_out(act, act.moments[0].picks)
    said = capsys.readouterr().out
    assert "5 messages" in said
    assert said.count("nothing  ") >= 1
    assert "opt-out, 125 B" in said
    assert "the opt-out that you asked for" in said
    assert "you withdrew helping to train" in said
    assert said.count("as above") == 3
    assert "byte for byte" in said
    assert "delta 1e-05, unit device, adjacency zero-out, by zCDP, 1 release." in said


def test_had_she_not_withdrawn_the_comparison_would_tell(bundle: tuple[Path, Dataset], tmp_path: Path) -> None:
    stays = opt_out(*bundle, KEY, tmp_path / "run", now=NOW, decides=lambda hers: None)
    assert len(stays.moments[1].left) == 5
    assert len(stays.different) > 5
    assert "it can tell" in findings(stays)[0]
