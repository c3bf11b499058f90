"""The auditor's command line: exit codes, sentences, files, and the tamper demonstration."""

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from backrow.privacy.audit import demo
from backrow.privacy.audit.cli import app, main
from backrow.privacy.audit.findings import Fault
from backrow.privacy.audit.tamper import TAMPERINGS
from backrow.privacy.errors import LedgerError
from tests.house import ROOT
from tests.ledgers import EPOCH_KEY, INVITED, KEY, OPT_OUTS, OPTED_OUT, OTHER_KEY, RELEASE, Draft, honest, keep, write


@pytest.fixture
def run(tmp_path: Path) -> Path:
    draft = honest(sentinels=300, rows=310)
    keep(tmp_path / "run" / "releases", draft)
    return write(tmp_path / "run", draft)


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_an_honest_run_exits_with_0_and_says_what_is_missing(run: Path) -> None:
    result = call("verify", run, "--key", KEY.public.hex())
    assert result.exit_code == 0
    assert "No fault was found" in result.output
    assert "--lists" in result.output
    assert "--seen" in result.output


def test_a_fault_exits_with_its_own_code_and_its_name(run: Path) -> None:
    result = call("verify", run, "--key", OTHER_KEY.public.hex())
    assert result.exit_code == Fault.WRONG_KEY.exit_code
    assert "wrong-key" in result.output
    assert call("verify", run, "--production").exit_code == Fault.SIMULATED.exit_code


def test_the_key_may_be_a_file(run: Path) -> None:
    assert "(pinned)" in call("verify", run, "--key", run / "coordinator.pub").output


def test_the_json_report_is_json(run: Path) -> None:
    read = json.loads(call("verify", run, "--json").output)
    assert read["format"] == "backrow-audit/1"
    assert read["exit_code"] == 0


def test_the_help_of_verify_documents_every_exit_code() -> None:
    text = " ".join(call("verify", "--help").output.split())
    for fault in Fault:
        assert fault.label.split("-")[0] in text
        assert str(fault.exit_code) in text


def test_the_guide_documents_every_exit_code() -> None:
    guide = (ROOT / "docs" / "audit-guide.md").read_text()
    rows = [f"| {fault.exit_code} | `{fault.label}` | {fault.meaning} |" for fault in Fault]
    assert [row for row in rows if row not in guide] == []


def test_every_command_and_option_of_the_guide_exists() -> None:
    guide = (ROOT / "docs" / "audit-guide.md").read_text()
    for command in set(re.findall(r"backrow audit ([a-z-]+)", guide)):
        assert call(command, "--help").exit_code == 0, command
    options = set(re.findall(r"backrow audit ([a-z-]+)[^\n#]*?(--[a-z]+)", guide))
    assert all(option in call(command, "--help").output for command, option in options)


def test_show_prints_rounds_and_every_field_of_an_entry(run: Path) -> None:
    assert "popularity" in call("show", run).output
    text = call("show", run, "--entry", RELEASE).output
    assert "crowd.survived" in text
    assert isinstance(call("show", run, "--entry", 999).exception, LedgerError)


def test_a_proof_is_written_once_and_checked(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "release.tlog-proof"
    assert call("prove", run, "--entry", RELEASE, "--out", file).exit_code == 0
    assert isinstance(call("prove", run, "--entry", RELEASE, "--out", file).exception, FileExistsError)
    result = call("check-proof", file, "--key", run / "coordinator.pub")
    assert f"Entry {RELEASE} is in the ledger" in result.output


def test_absence_is_proved_from_the_lists(run: Path, tmp_path: Path) -> None:
    lists, file = tmp_path / "lists.json", tmp_path / "absent.json"
    held = {"format": "backrow-lists/1", "keys": [EPOCH_KEY.hex()]}
    held |= {"participants": {str(RELEASE): INVITED}, "opt_outs": {str(OPT_OUTS): OPTED_OUT}}  # type: ignore[dict-item]
    lists.write_text(json.dumps(held))
    words = ("prove", run, "--entry", RELEASE, "--absent", "alice", "--out", file)
    assert isinstance(call(*words).exception, LedgerError)
    assert call(*words, "--lists", lists).exit_code == 0
    assert "is not on its list" in call("check-proof", file, "--key", KEY.public.hex()).output


def test_the_lists_of_a_simulation_are_found_in_its_folder(run: Path) -> None:
    held = {"format": "backrow-lists/1", "keys": [EPOCH_KEY.hex()], "participants": {str(RELEASE): INVITED[1:]}}
    (run / "auditor").mkdir()
    (run / "auditor" / "lists.json").write_text(json.dumps(held))
    assert call("verify", run).exit_code == Fault.LISTS.exit_code


def test_the_registry_entry_is_written_for_what_verifies_only(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "registry"
    assert call("export", run, "--registry", "--out", out).exit_code == 0
    assert json.loads((out / "deployment.json").read_text())
    assert "epsilon" in (out / "deployment.md").read_text()
    assert "accountant backrow-gaussian-closed-form 1" in (out / "deployment.md").read_text()
    (run / "checkpoint").unlink()
    assert isinstance(call("export", run, "--registry", "--out", out).exception, LedgerError)


def test_what_is_missing_in_the_registry_entry_is_said_and_not_made_up(run: Path, tmp_path: Path) -> None:
    out, statements = tmp_path / "registry", tmp_path / "operator.toml"
    words = ("export", run, "--registry", "--out", out)
    lacking = [line.removeprefix("  - ") for line in call(*words).output.splitlines() if line.startswith("  - ")]
    deployment = json.loads((out / "deployment.json").read_text())["deployment"]
    assert {"basic.name", "basic.data_product_region", "implementation.justification"} <= set(lacking)
    assert deployment["basic"]["name"] is None
    assert "**name**: MISSING" in (out / "deployment.md").read_text()
    statements.write_text('name = "Night Owl"\nregion = "Europe"\n')
    output = call(*words, "--operator", statements).output
    assert "basic.name" not in output
    assert "implementation.justification" in output
    assert json.loads((out / "deployment.json").read_text())["deployment"]["basic"]["data_product_region"] == "Europe"


@pytest.mark.parametrize(
    "draft",
    [
        honest(sentinels=300, rows=310),
        honest((1.0,)),
        honest(simulated=False),
        honest(epsilon=None),
        honest(void=(1,)),
    ],
)
def test_every_tampering_is_caught_under_its_name(draft: Draft, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    attempts = demo.tamper_demo(write(tmp_path / "run", draft), folder, KEY, OTHER_KEY)
    assert [each.tampering.name for each in attempts if not each.caught] == []
    assert sum(each.possible for each in attempts) >= len(TAMPERINGS) - 9


def test_every_tampering_is_possible_with_a_real_run(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    assert all(each.possible for each in demo.tamper_demo(run, folder, KEY, OTHER_KEY))


def test_the_demonstration_changes_nothing_in_the_run(run: Path) -> None:
    before = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = call("tamper-demo", run)
    assert result.exit_code == 0
    assert f"{len(TAMPERINGS)} of {len(TAMPERINGS)} caught" in result.output
    assert {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_tampering_that_goes_by_another_name_fails_the_demonstration(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    wrong = (replace(TAMPERINGS[0], fault=Fault.BUDGET), replace(TAMPERINGS[1], apply=lambda copy: copy))
    monkeypatch.setattr(demo, "TAMPERINGS", wrong)
    result = call("tamper-demo", run)
    assert result.exit_code == 3
    assert "edit, delete" in result.output


def test_a_ledger_that_is_not_sound_is_not_demonstrated_with(run: Path) -> None:
    (run / "checkpoint").unlink()
    assert isinstance(call("tamper-demo", run).exception, LedgerError)


def test_an_error_is_a_sentence_and_exit_code_1(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["audit", "verify", str(run), "--key", "not-a-key"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")
