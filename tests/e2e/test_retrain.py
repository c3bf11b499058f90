"""A model without the devices that have opted out since: a new run on top of the old one, never a subtraction."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from backrow.privacy.accounting.gaussian import epsilon
from backrow.privacy.audit.evidence import Lists
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.proofs import check_proof, prove_absence
from backrow.privacy.audit.verify import verify
from backrow.privacy.consent import EVERYTHING, ConsentRecord, OptOutRequest, sign_opt_out
from backrow.privacy.errors import OptOutError, ScenarioError
from backrow.privacy.ledger.entries import OptOutEntry, ReleaseEntry, ReserveEntry
from backrow.privacy.ledger.files import read_files
from backrow.privacy.ledger.verification import verify_files
from backrow.server.policy import POLICY
from backrow.server.suppression import COORDINATOR, SuppressionList, keep_enrolled, read_enrolled
from backrow.simulations.cli import app
from backrow.simulations.left_out import LEFT_OUT
from backrow.simulations.pipeline import Prepared, prepare
from backrow.simulations.population import Population, device_key, device_name
from backrow.simulations.results import Results
from backrow.simulations.retrain import Offer, offer, retrain
from backrow.simulations.runner import resume, run
from backrow.simulations.scenario import Scenario
from backrow.simulations.training import RELEASES, coordinator_key
from tests.unit.simulations.small_data import two_tastes

SEED, PEOPLE, ALICE, BOB = 3, 40, 7, 11
KEY = coordinator_key(SEED).public


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = two_tastes(PEOPLE, 24).interactions
    rows = [f"u{user},t{title},{at}" for user, title, at in zip(data.user, data.title, data.timestamp, strict=True)]
    path = tmp_path_factory.mktemp("views") / "views.csv"
    path.write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    return path


def scenario(views: Path, aggregation: str = "trusted") -> Scenario:
    return Scenario.model_validate(
        {
            "seed": SEED, "data": {"path": str(views)}, "model": {"rounds": 2}, "cohort": {"minimum": 20},
            "privacy": {"aggregation": aggregation, "dropouts": 0.25},
        }
    )  # fmt: skip


@pytest.fixture(scope="module", params=["trusted", pytest.param("secure", marks=pytest.mark.long)])
def earlier(request: pytest.FixtureRequest, views: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that everybody took part in, and from which Alice opted out afterwards."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    run(scenario(views, request.param), folder, baselines=False)
    opt_out(folder, ALICE)
    return folder


@pytest.fixture(scope="module")
def again(earlier: Path) -> tuple[Offer, Path]:
    offered, folder = offer(earlier, [device_name(BOB)]), earlier.with_name("second")
    retrain(offered, folder)
    return offered, folder


def opt_out(folder: Path, slot: int) -> None:
    key, place = device_key(SEED, slot), folder / COORDINATOR
    request = OptOutRequest(ConsentRecord(key.public, EVERYTHING, False, 1, 1), device_name(slot))
    keep_enrolled(place, {device_name(each): device_key(SEED, each).public for each in range(PEOPLE)})
    assert SuppressionList.open(place).add(sign_opt_out(request, key), read_enrolled(place), 1)


def bodies(folder: Path) -> list[object]:
    return [entry.body for entry in verify_files(read_files(folder), KEY).entries]


def released(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / RELEASES).iterdir())}


def never_there(population: Population, slots: set[int]) -> Population:
    """The same people, in the same places, without these devices' histories and word."""
    kept = [slot not in slots for slot in range(len(population))]
    histories = [population.history(slot) for slot in range(len(population))]
    sizes = [len(history) if stays else 0 for history, stays in zip(histories, kept, strict=True)]
    mine = np.repeat(kept, np.diff(population.starts))
    return replace(
        population,
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        titles=population.titles[mine],
        weights=population.weights[mine],
        recent=population.recent[mine],
        order=None if population.order is None else population.order[mine],
        fresh=np.where(kept, population.fresh, -1).astype(np.int32),
        granted=population.granted & np.array(kept),
    )


def test_what_it_releases_is_to_the_byte_what_a_run_releases_in_which_those_devices_never_were(
    again: tuple[Offer, Path], tmp_path: Path
) -> None:
    offered, folder = again
    there: Prepared = prepare(offered.scenario)
    without = replace(there, population=never_there(there.population, {ALICE, BOB}))
    run(offered.scenario, tmp_path / "never", baselines=False, prepared=without, begin=lambda draft: None)
    assert released(folder) == released(tmp_path / "never")
    assert len(released(folder)) == 5
    with_alice = replace(there, population=never_there(there.population, {BOB}))
    run(offered.scenario, tmp_path / "control", baselines=False, prepared=with_alice, begin=lambda draft: None)
    assert released(folder) != released(tmp_path / "control")


def test_it_is_a_run_of_its_own_with_everybody_left_out_from_the_first_round_and_passes_the_audit(
    earlier: Path, again: tuple[Offer, Path]
) -> None:
    offered, folder = again
    assert offered.left_out == (device_name(ALICE), device_name(BOB))
    lists = Lists.parse((folder / "auditor" / "lists.json").read_bytes())
    report = verify(folder, KEY, lists=lists)
    assert report.passed, report.findings
    written = bodies(folder)
    sealed = [(place, body.size) for place, body in enumerate(written) if isinstance(body, OptOutEntry)]
    assert sealed == [(3, 1)]
    for body in (body for body in written if isinstance(body, ReleaseEntry)):
        assert body.crowd.invited == PEOPLE - 2
    first = {body.plan.run_id for body in bodies(earlier) if isinstance(body, ReserveEntry)}
    second = {body.plan.run_id for body in written if isinstance(body, ReserveEntry)}
    assert len(first | second) == 2  # devices answer a (run, round) once


def test_who_was_left_out_proves_her_absence_from_every_release_and_who_was_not_cannot(
    again: tuple[Offer, Path],
) -> None:
    _, folder = again
    files, lists = read_files(folder), Lists.parse((folder / "auditor" / "lists.json").read_bytes())
    lines = [line + b"\n" for line in files.lines]
    for release in lists.participants:
        for slot in (ALICE, BOB):
            proof = prove_absence(lines, files.checkpoint, release, lists, device_name(slot))
            assert check_proof(proof, KEY).absent is not None
        with pytest.raises(OptOutError):
            prove_absence(lines, files.checkpoint, release, lists, device_name(ALICE + 1))


def test_its_noise_is_new_so_that_two_releases_do_not_give_away_who_was_left_out(
    earlier: Path, again: tuple[Offer, Path]
) -> None:
    offered, folder = again
    old, new = ([body for body in bodies(each) if isinstance(body, ReleaseEntry)] for each in (earlier, folder))
    for one, two in zip(old, new, strict=True):  # rows that nobody touches hold the noise alone
        assert len(one.sentinels) == len(two.sentinels) >= 4096
        assert sum(a == b for a, b in zip(one.sentinels, two.sentinels, strict=True)) < len(one.sentinels) / 10
    assert offered.scenario.seed == SEED


def test_it_says_what_both_runs_cost_together_in_its_results_and_in_the_file_that_its_ledger_names(
    earlier: Path, again: tuple[Offer, Path]
) -> None:
    offered, folder = again
    terms = Results.from_json((folder / "results.json").read_bytes()).retrained
    assert terms == offered.terms
    assert (terms.left_out, terms.delta, terms.unit, terms.adjacency) == (2, 1e-5, "device", "zero-out")
    assert (terms.releases_before, terms.releases_alone) == (5, 5)
    assert terms.epsilon_before is not None
    assert terms.epsilon_together is not None
    plans = [body.plan for each in (earlier, folder) for body in bodies(each) if isinstance(body, ReserveEntry)]
    alone = epsilon(sum(plan.noise_multiplier**-2 for plan in plans) ** 0.5, 1e-5)
    assert terms.epsilon_before < alone <= terms.epsilon_together == pytest.approx(alone, rel=1e-4)
    table = tomllib.loads((folder / POLICY).read_text())
    assert table["on_top_of"]["run"] == terms.run
    assert table["on_top_of"]["ledger"] == verify_files(read_files(earlier), KEY).signed.checkpoint.root.hex()
    names = (device_name(ALICE), device_name(BOB))
    public = [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name not in ("coordinator", "auditor")
    ]
    assert not any(name.encode() in path.read_bytes() for path in public for name in names)
    (folder / POLICY).write_text((folder / POLICY).read_text().replace("left_out = 2", "left_out = 1"))
    assert {finding.fault for finding in verify(folder, KEY).findings} == {Fault.POLICY_MISMATCH}
    (folder / POLICY).write_text((folder / POLICY).read_text().replace("left_out = 1", "left_out = 2"))


def test_a_run_that_was_retrained_is_retrained_on_top_of_both(again: tuple[Offer, Path]) -> None:
    offered, folder = again
    third = offer(folder, [device_name(ALICE + 1)])
    assert third.left_out == (device_name(ALICE), device_name(ALICE + 1), device_name(BOB))
    assert third.terms.releases_before == 10
    assert third.terms.epsilon_before == offered.terms.epsilon_together
    assert third.scenario.retrain != offered.scenario.retrain
    with pytest.raises(ScenarioError, match="nobody who opted out has taken part"):
        offer(folder)


def test_a_retraining_that_was_killed_goes_on_without_the_same_devices(
    views: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backrow.simulations import runner

    run(scenario(views), tmp_path / "first", baselines=False)
    offered = offer(tmp_path / "first", [device_name(BOB)])
    retrain(offered, tmp_path / "whole")

    def killed(*told: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runner, "write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            retrain(offered, tmp_path / "cut")
    resume(offered.scenario, tmp_path / "cut")
    assert released(tmp_path / "cut") == released(tmp_path / "whole")
    assert Results.from_json((tmp_path / "cut" / "results.json").read_bytes()).retrained == offered.terms
    assert (tmp_path / "cut" / LEFT_OUT).exists()


def test_it_is_refused_in_a_sentence_where_there_is_nothing_to_retrain(views: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    run(scenario(views), first, baselines=False)
    with pytest.raises(ScenarioError, match="nobody who opted out has taken part"):
        offer(first)
    with pytest.raises(ScenarioError, match="is no device of this run"):
        offer(first, ["somebody"])
    with pytest.raises(ScenarioError, match="is no run folder"):
        offer(tmp_path)
    shutil.copytree(first, tmp_path / "other.unfinished")
    for name in ("other", "other.unfinished"):
        with pytest.raises(ScenarioError, match="is not finished"):
            offer(tmp_path / name, [device_name(BOB)])
    section = offer(first, [device_name(BOB)]).scenario
    with pytest.raises(ScenarioError, match="begin it with backrow retrain-from"):
        run(section, tmp_path / "by-hand")
    (first / "run.toml").write_text((first / "run.toml").read_text().replace("rounds = 2", "rounds = 3"))
    with pytest.raises(ScenarioError, match="no longer those of its ledger"):
        offer(first, [device_name(BOB)])


def test_the_command_says_the_terms_before_it_runs(views: Path, tmp_path: Path) -> None:
    run(scenario(views), tmp_path / "first", baselines=False)
    words = ["retrain-from", str(tmp_path / "first"), "--device", device_name(BOB)]
    said = CliRunner().invoke(app, [*words, "--terms"])
    assert said.exit_code == 0
    assert "nothing is subtracted" in said.stdout
    assert "pays both: epsilon" in said.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "first-without-1" / "results.json").exists()
    assert ran.output.index("pays both") < ran.output.index("report:")
