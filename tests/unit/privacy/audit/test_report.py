"""The HTML report: seven reports, NIST's questions, nothing from outside, and no epsilon alone."""

import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from backrow.privacy.audit.cli_report import report as report_command
from backrow.privacy.audit.evidence import Witnesses
from backrow.privacy.audit.model import Report
from backrow.privacy.audit.report import render, write
from backrow.privacy.audit.report_attacks import Area, Attacks, parse_attacks
from backrow.privacy.audit.report_material import STATEMENTS, parse_statements, signed_entries
from backrow.privacy.audit.report_parts import lasting, when
from backrow.privacy.audit.report_plots import ticks
from backrow.privacy.audit.report_registry import export_registry
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import LedgerError
from backrow.privacy.ledger.entries import FindingEntry, OptOutEntry, RetractionEntry, VoidEntry
from backrow.privacy.ledger.keys import Kind
from backrow.privacy.ledger.note import Note, Signer
from backrow.privacy.ledger.parts import Purpose, PurposeBudget
from tests.ledgers import IN_SHARES, KEY, OPT_OUTS, OTHER_KEY, RELEASE, START, Draft, honest, with_policy
from tests.ledgers import write as write_run

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)> \"&"
TITLES = (
    "1 Claim sheet",
    "2 Verification",
    "3 Opt-outs: from request to effect",
    "4 Deletion receipts",
    "5 Records of processing",
    "6 Impact assessment, annex: measured attacks",
    "7 Entry for the public registry",
    "Answers to NIST SP 800-226",
    "Rounds",
    "Other entries",
)
FULL = with_policy(
    honest((0.2, 0.2, 0.3, 0.3), void=(3,), trends=(2,)),
    purposes=(PurposeBudget(Purpose.TRAIN, 2.999), PurposeBudget(Purpose.TRENDS, 1.5)),
)
"""Four rounds, one of them void, two purposes with budgets."""


class Page(HTMLParser):
    """Elements with their text, ids and links; void elements are left out."""

    ALONE = ("meta", "br", "line", "circle", "rect", "path")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[int] = []
        self.feed(html)
        assert not self._open, "an element was left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))
        if tag not in self.ALONE:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.ALONE:
            assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.elements[place][2].append(data)

    def texts(self, *tags: str) -> Iterator[str]:
        for tag, attrs, data in self.elements:
            if tag in tags:
                yield "".join(data) + " " + attrs.get("aria-label", "")

    def classed(self, name: str) -> list[str]:
        return ["".join(data) for _, attrs, data in self.elements if name in attrs.get("class", "").split()]


def audited(folder: Path, draft: Draft = FULL, key: bytes | None = KEY.public) -> Report:
    return verify(write_run(folder / "run", draft), key)


def page_of(folder: Path, draft: Draft = FULL, **extras: object) -> str:
    report = audited(folder, draft)
    return render(report, signed_entries(folder / "run", report.key), **extras)  # type: ignore[arg-type]


def attacks(**changes: object) -> Attacks:
    made = Attacks(
        epsilon=3.0, delta=1e-5, unit="device", adjacency="zero-out", releases=4, noise_factor=1.0, canaries=200,
        guesses=50, correct=40, confidence=0.95, lower=0.77, reach=2.78, silent_p=0.4, silent_coordinates=25_262,
        largest_auc=0.695, areas=(Area("released sums, of viewers", 0.66, 0.58, 0.73, 89, 111, 0.95),), findings=(),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_every_report_is_there_and_in_the_table_of_contents(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path))
    assert tuple(text.strip() for text in page.texts("h2")) == TITLES
    contents = next(page.texts("nav"))
    assert all(title in contents for title in TITLES)


def test_every_link_leads_to_a_place_on_the_page_and_no_place_is_there_twice(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path))
    places = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    links = [attrs["href"] for _, attrs, _ in page.elements if "href" in attrs]
    assert len(links) > 40
    assert all(link.removeprefix("#") in places for link in links)
    assert len(places) == len(set(places))


def test_no_epsilon_stands_alone(tmp_path: Path) -> None:
    found = 0
    for draft in (FULL, honest((0.5, 0.5)), FULL.put(RELEASE, *FULL.bodies[RELEASE : RELEASE + 1])):
        for case in (None, attacks(), attacks(findings=("the run shows epsilon of at least 3.5",))):
            page = Page(page_of(tmp_path / f"{found}", draft, attacks=case))
            for text in alone(page):
                found += 1
                for word in ("δ", "unit", "adjacency", "release"):
                    assert word in text.lower(), text
    assert found > 50


def alone(page: Page) -> Iterator[str]:
    """The smallest wholes that show an epsilon: a paragraph, a description, a figure, a table with its foot."""
    inside = list(page.texts("figure"))
    inside += [" ".join(data) for _, attrs, data in page.elements if attrs.get("class") == "tabled"]
    whole = "\n".join(inside)
    loose = [text for text in page.texts("p", "dd", "li", "svg") if text.strip() not in whole]
    heads = ["".join(page.texts("header"))]
    for text in (*inside, *loose, *heads):
        if re.search(r"(ε|epsilon)( =| alone| so far| of| claimed| at least)?[^a-z]{0,30}\d", text):
            yield text


@pytest.mark.parametrize(
    "broken",
    [
        "<p>ε 3 for everybody</p>",
        "<p>epsilon 3 (δ 1e-05, unit device, 4 releases)</p>",
        '<figure><svg aria-label="epsilon 3"></svg></figure>',
        '<div class="tabled"><table><tr><th>ε so far</th><td>2.5</td></tr></table></div>',
    ],
)
def test_the_test_above_would_see_an_epsilon_alone(broken: str) -> None:
    texts = list(alone(Page(f"<header></header>{broken}")))
    assert texts
    assert any("adjacency" not in text for text in texts)


def test_hostile_text_of_a_ledger_is_shown_and_stays_text(tmp_path: Path) -> None:
    bodies = list(FULL.bodies)
    void = next(place for place, body in enumerate(bodies) if isinstance(body, VoidEntry))
    draft = replace(FULL.swap(void, reason=HOSTILE), origin=f"backrow/{HOSTILE.replace(' ', '-')}")
    draft = replace(
        draft,
        bodies=(*draft.bodies, FindingEntry(HOSTILE, (0,), HOSTILE), RetractionEntry(len(bodies) - 1, HOSTILE)),
    )
    html = page_of(tmp_path, draft, statements={"controller": HOSTILE})
    assert "<script" not in html
    assert "<img" not in html
    page = Page(html)
    assert sum(HOSTILE in text for text in page.texts("dd", "li", "td")) >= 4
    assert not any(name.startswith("on") for _, attrs, _ in page.elements for name in attrs)


def test_an_attack_result_is_escaped_too(tmp_path: Path) -> None:
    hostile = attacks(findings=(HOSTILE,), unit=HOSTILE, areas=(Area(HOSTILE, 0.5, 0.4, 0.6, 9, 9, 0.95),))
    assert "<script" not in page_of(tmp_path, attacks=hostile)


def test_nothing_runs_and_nothing_is_fetched(tmp_path: Path) -> None:
    html = page_of(tmp_path, attacks=attacks())
    assert not re.search(r"<(script|link|iframe|object|embed|img|form|base)\b", html)
    assert not re.search(r"(https?:|//|url\(|@import|javascript:|\bsrc=)", html)
    assert "<svg" in html


@pytest.mark.parametrize("word", ["anonym", "unlearn", "guarantees that nobody"])
def test_words_that_promise_too_much_are_absent(tmp_path: Path, word: str) -> None:
    spoiled = FULL.swap(RELEASE, noise_scale=99.0)
    for place, draft in enumerate((FULL, honest((1.0,), epsilon=None), honest((1.0,), simulated=False), spoiled)):
        assert word not in page_of(tmp_path / str(place), draft, attacks=attacks()).lower()


def test_what_nobody_answers_is_red_and_what_the_operator_states_is_not(tmp_path: Path) -> None:
    silent = Page(page_of(tmp_path / "silent"))
    stated = {key: f"stated {key}" for key in STATEMENTS}
    told = Page(page_of(tmp_path / "told", statements=stated))
    open_words = "not answered: for the operator to state"
    assert sum(open_words in text for text in silent.classed("gap")) >= 10
    assert not any(open_words in text for text in told.classed("gap"))
    shown = " ".join(told.texts("dd", "td"))
    assert all(f"stated {key}" in shown for key in STATEMENTS)
    assert "stated custody (stated by the operator; not checked)" in shown
    assert not any("stated" in text for text in told.classed("good"))


def test_red_means_red() -> None:
    template = (Path(sys.modules[render.__module__].__file__ or "").parent / "report.html.j2").read_text("utf-8")
    assert re.search(r"\.gap \{ color: var\(--alarm\)", template)
    for alarm in re.findall(r"--alarm: #(..)(..)(..);", template):
        red, green, blue = (int(part, 16) for part in alarm)
        assert red > green + 80
        assert red > blue + 80


def test_nist_answers_name_their_evidence(tmp_path: Path) -> None:
    html = page_of(tmp_path)
    section = html[html.index('<section id="nist">') :].split("</section>")[0]
    rows = re.findall(r"<tr><td.*?</tr>", section, re.DOTALL)
    assert len(rows) >= 20
    for row in rows:
        assert "<a href=" in row or 'class="gap"' in row, row


def test_the_same_evidence_gives_the_same_bytes(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", FULL)
    report = verify(run, KEY.public)
    for name in ("one", "two"):
        write(tmp_path / name, run, report, attacks=attacks())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_ledger_that_does_not_verify_says_so_before_anything_else(tmp_path: Path) -> None:
    html = page_of(tmp_path, FULL.swap(RELEASE, noise_scale=99.0))
    page = Page(html)
    assert next(page.texts("h1")).strip() == "This ledger does not verify"
    assert "misstated-noise" in page.classed("gap")
    assert any("does not verify" in text for text in page.classed("alarm"))


def test_of_a_ledger_that_is_not_whole_no_claim_is_repeated(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", FULL)
    lines = (run / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (run / "ledger.jsonl").write_bytes(b"".join(lines[:3] + lines[4:]))
    report = verify(run, KEY.public)
    page = Page(render(report, signed_entries(run, report.key)))
    assert next(page.texts("h1")).strip() == "No claim can be shown"
    assert "entry-removed" in page.classed("gap")
    assert "ε = " not in " ".join(page.texts("header"))


@pytest.mark.parametrize("data", [b"", b"\xff\n\n", b"{}\n" * 3, b"x"])
def test_whatever_the_file_holds_there_is_a_page(tmp_path: Path, data: bytes) -> None:
    run = write_run(tmp_path / "run", FULL)
    (run / "ledger.jsonl").write_bytes(data)
    report = verify(run)
    page = Page(render(report, signed_entries(run, report.key)))
    assert tuple(text.strip() for text in page.texts("h2")) == TITLES


def test_an_unpinned_key_and_a_simulation_are_stamped(tmp_path: Path) -> None:
    report = audited(tmp_path, key=None)
    stamps = " ".join(text for tag, attrs, data in Page(render(report)).elements
                      if attrs.get("class") == "stamps" for text in data)  # fmt: skip
    assert "the key was not pinned" in stamps
    assert "simulated: no production claim" in stamps


def test_a_run_without_privacy_claims_none_and_draws_no_budget(tmp_path: Path) -> None:
    html = page_of(tmp_path, honest((0.5, 0.5), epsilon=None))
    assert next(Page(html).texts("h1")).strip() == "No privacy is claimed"
    assert "<figure>" not in html


def test_the_latency_of_opt_outs_is_read_from_seals_and_rounds(tmp_path: Path) -> None:
    # Sealed at START + 5, between reserve (4) and release (6) of round 1: an entry a second.
    sealed = OptOutEntry(12, b"r" * 32)
    made = honest((0.5, 0.5))
    bodies = [*made.bodies[:RELEASE], sealed, *made.bodies[RELEASE:]]
    page = Page(page_of(tmp_path, replace(made, bodies=tuple(bodies))))
    row = next(text for text in page.texts("tr") if "entry 5" in text and when(START + 5) in text)
    assert "+2" in row
    assert "round 1, checked against the list before" in row
    assert "1 s" in row
    figures = " ".join(page.texts("dd"))
    assert (
        "at once for 1 of 2 lists; for 1, sealed while a round was open, after 1 s (median), 1 s (longest)" in figures
    )


def test_without_anybody_on_a_list_there_is_no_latency_to_report(tmp_path: Path) -> None:
    html = page_of(tmp_path, FULL.swap(OPT_OUTS, size=0))
    assert "no data: nobody is on any sealed list" in html


def test_retractions_are_receipts_and_their_absence_is_said(tmp_path: Path) -> None:
    last = len(FULL.bodies) - 1
    draft = replace(FULL, bodies=(*FULL.bodies, RetractionEntry(last, "an owner asked")))
    html = page_of(tmp_path / "with", draft)
    section = html[html.index('<section id="deletions">') :].split("</section>")[0]
    assert "an owner asked" in section
    assert f'href="#entry-{last}"' in section
    assert "withdrawn by " in Page(html).classed("gap")
    assert "No retraction is recorded" in page_of(tmp_path / "without")


def test_the_annex_says_plainly_that_nothing_was_attacked(tmp_path: Path) -> None:
    assert any("No attack result was given" in text for text in Page(page_of(tmp_path)).classed("gap"))


def test_a_refuted_claim_and_a_demonstration_are_alarming(tmp_path: Path) -> None:
    refuted = Page(page_of(tmp_path / "a", attacks=attacks(findings=("noise is missing",))))
    assert any("noise is missing" in text for text in refuted.classed("gap"))
    demonstration = Page(page_of(tmp_path / "b", attacks=attacks(noise_factor=0.25)))
    assert any("25 % of the claimed" in text for text in demonstration.classed("gap"))
    other = Page(page_of(tmp_path / "c", attacks=attacks(delta=1e-6)))
    assert any(text.startswith("no: here it is ε") for text in other.classed("gap"))
    assert "open: the attack that was given was on another claim" in other.classed("gap")
    same = Page(page_of(tmp_path / "d", attacks=attacks()))
    assert not any("another claim" in text or text.startswith("no: here") for text in same.classed("gap"))


def test_a_long_ledger_shows_both_ends_and_what_released_nothing(tmp_path: Path) -> None:
    draft = honest((0.01,) * 100, void=(70,), sentinels=2, rows=6)
    html = page_of(tmp_path, draft)
    section = html[html.index('<section id="rounds">') :].split("</section>")[0]
    rows = re.findall(r"<tr><td", section)
    assert len(rows) == 60 + 1 + 20
    assert "19 rounds in between left out" in section
    assert "void" in section


def test_noise_that_devices_add_is_said_to_be_theirs(tmp_path: Path) -> None:
    once = " ".join(Page(page_of(tmp_path)).texts("body"))
    shares = " ".join(Page(page_of(tmp_path / "shares", honest(places=IN_SHARES))).texts("body"))
    theirs = (
        "which each device adds before its answer leaves it",
        "at most 10 % of the devices in a sum",
        "which add noise",
    )
    coordinators = ("which adds the noise to the sum", "which adds noise", "it adds the noise itself")
    assert all(words in shares and words not in once for words in theirs)
    assert all(words in once and words not in shares for words in coordinators)


def test_the_operating_system_is_that_of_whoever_adds_the_noise(tmp_path: Path) -> None:
    pages = {
        "each device's operating system": honest(places=IN_SHARES, simulated=False),
        "the coordinator's operating system": honest(simulated=False),
    }
    for words, draft in pages.items():
        assert f"From {words}" in " ".join(Page(page_of(tmp_path / words[:3], draft)).texts("body"))


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 3.0, 9.0, 15.0])
def test_the_odds_at_the_top_are_never_less_than_epsilon_allows(tmp_path: Path, epsilon: float) -> None:
    text = " ".join(Page(page_of(tmp_path, honest((1.0,), epsilon))).texts("p"))
    (said,) = re.findall(r"at most ([0-9.,e+]+) times likelier", text)
    factor = float(said.replace(",", ""))
    assert math.exp(epsilon) * (1 - 1e-6) <= factor <= 1.16 * math.exp(epsilon)


def test_witnesses_stand_in_the_report_and_none_is_an_alarm(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", FULL)
    assert any("nobody but the coordinator" in text for text in Page(html_of(run)).classed("gap"))
    witness = Signer("eve", OTHER_KEY, Kind.COSIGNATURE)
    note = Note.parse((run / "checkpoint").read_bytes())
    (run / "checkpoint").write_bytes(note.with_signature(witness.sign(note.text, START)).encode())
    page = html_of(run, Witnesses((witness.verifier,), 1))
    assert "1 independent witness: eve" in page
    assert "cosigned by eve" in page


def html_of(run: Path, witnesses: Witnesses | None = None) -> str:
    return render(verify(run, KEY.public, witnesses=witnesses or Witnesses()), signed_entries(run, KEY.public))


def test_the_registry_entry_has_the_fields_of_the_public_template(tmp_path: Path) -> None:
    entry = export_registry(audited(tmp_path), None, {"name": "Night Owl", "region": "Europe"})
    assert entry["url_slug"] == "night-owl"
    deployment = entry["deployment"]
    assert list(deployment) == [
        "basic", "dp_variant", "privacy_loss", "deployment_model", "implementation", "administrative",
    ]  # fmt: skip
    assert deployment["basic"]["data_product_region"] == "Europe"
    assert deployment["basic"]["description"].startswith("SIMULATION")
    loss = deployment["privacy_loss"]
    assert 3.0 <= loss["privacy_parameters"]["epsilon"] < 3.01
    assert loss["privacy_parameters"]["delta"] == 1e-5
    assert loss["number_of_privacy_units"] == 100
    assert "4 releases" in loss["privacy_parameters_details"]
    assert deployment["basic"]["intended_use"] is None


def test_purposes_without_rounds_show_their_budget(tmp_path: Path) -> None:
    html = page_of(tmp_path, with_policy(honest((1.0,)), purposes=(PurposeBudget(Purpose.TRENDS, 0.5),)))
    assert "trends: epsilon 0 of 0.5" in html


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b'{"claim": 3}', b'{"claim": {"epsilon": true}}', b"[" * 100_000]
)
def test_what_is_no_attack_result_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(LedgerError, match="not the result of an attack"):
        parse_attacks(data)


@pytest.mark.parametrize(
    "data", [b"\xff", b"controller = ", b"controler = 'x'", b"controller = 3", b"controller = ' '"]
)
def test_what_are_no_statements_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(LedgerError, match="operator's statement"):
        parse_statements(data)


def test_a_file_that_is_no_report_is_not_overwritten(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", FULL)
    report = verify(run, KEY.public)
    before = (run / "ledger.jsonl").read_bytes()
    with pytest.raises(LedgerError, match="is no report"):
        write(run / "ledger.jsonl", run, report)
    assert (run / "ledger.jsonl").read_bytes() == before
    with pytest.raises(LedgerError, match="cannot be written"):
        write(tmp_path / "missing" / "report.html", run, report)


def test_the_command_writes_a_page_and_exits_as_verify_does(tmp_path: Path) -> None:
    app = Typer()
    app.command()(report_command)
    run, out = write_run(tmp_path / "run", FULL), tmp_path / "page.html"
    result = CliRunner().invoke(app, [str(run), "--out", str(out), "--key", KEY.public.hex()])
    assert result.exit_code == 0, result.output
    assert out.read_text("utf-8").startswith("<!doctype html>")
    spoiled = write_run(tmp_path / "spoiled", FULL.swap(RELEASE, noise_scale=99.0))
    result = CliRunner().invoke(app, [str(spoiled), "--out", str(out), "--key", KEY.public.hex()])
    assert result.exit_code == 55
    assert "misstated-noise" in result.output


def test_the_report_needs_neither_torch_nor_flwr_nor_matplotlib(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", FULL)
    code = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "flwr", "matplotlib", "ray", "pandas", "pyarrow", "opacus"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from pathlib import Path
from backrow.privacy.audit.report import write
from backrow.privacy.audit.verify import verify
run = Path({str(run)!r})
write(run / "report.html", run, verify(run))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (run / "report.html").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (125, "2 min 05 s"), (7800, "2 h 10 min"), (360_000, "4 d 04 h"), (-61, "-1 min 01 s")],
)
def test_durations_are_said_in_two_units(seconds: int, said: str) -> None:
    assert lasting(seconds) == said


def test_times_beyond_the_calendar_are_said_as_they_are() -> None:
    assert when(2**62).startswith(str(2**62))
    assert when(0) == "1970-01-01 00:00:00 UTC"


@pytest.mark.parametrize("top", [1e-6, 0.4, 3.36, 11.2, 5_000.0])
def test_axes_have_a_handful_of_round_numbers(top: float) -> None:
    made = ticks(top)
    assert 3 <= len(made) <= 8
    assert made[0] == 0
    assert made[-1] <= top
