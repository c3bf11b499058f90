"""report.html: what it must say, and that it is one file without a script that renders the same each time."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backrow.privacy.units import odds
from backrow.simulations.console import print_learned
from backrow.simulations.report.drawing import spread
from backrow.simulations.report.plot import frontier_svg
from backrow.simulations.report.run_report import frontier_rows, write_frontier, write_report
from backrow.simulations.results import GroupRow, Interval, Released, ReleasedFigure, Results, Row

VOID_TAGS = {"meta", "br", "hr", "img", "input", "link"}


def row(model: str, trainer: str | None, epsilon: float | None, hr: float, **changes: Any) -> Row:
    private = epsilon is not None
    values: dict[str, Any] = {
        "model": model,
        "trainer": trainer,
        "protocol": "full",
        "epsilon": epsilon,
        "epsilon_spent": epsilon,
        "delta": 1e-5 if private else None,
        "unit": "device" if private else None,
        "adjacency": "zero-out" if private else None,
        "releases": 14 if trainer else 0,
        "bytes_up_per_device": 5_000_000 if trainer else 0,
        "hr@10": hr,
        "ndcg@10": hr / 2,
        "recall@20": hr,
        "coverage@10": 0.2,
        "seconds": 8.0,
        "seed": 1,
    }
    return Row.model_validate({**values, **changes})


OURS, PRIOR = row("backrow", "gradient", 3.0, 0.0871), row("prior", "prior", 3.0, 0.0742, releases=2)
OPEN, POPULAR, EASE = (
    row("backrow, no privacy", "gradient", None, 0.0923),
    row("popularity", None, None, 0.0414),
    row("ease", None, None, 0.1095),
)


def results(*rows: Row, **changes: Any) -> Results:
    values: dict[str, Any] = {
        "engine": "inprocess",
        "nodes": 1,
        "aggregation": "trusted",
        "noise": "once",
        "dataset": "ml-1m",
        "split": "ncf",
        "devices": 6040,
        "titles": 3706,
        "rows": rows or (OURS, PRIOR, OPEN, POPULAR, EASE),
    }
    return Results(**{**values, **changes})


def a_round(number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "round": number,
        "query": "gradient",
        "outcome": "released",
        "participants": 6040,
        "noise_multiplier": 4.2,
        "noise_scale": 0.21,
        "epsilon_spent": 0.5 * number,
        "bytes_up_per_device": 385_000,
    }
    return {**values, **changes}


class _Reader(HTMLParser):
    """The page's text, its tags, and whether they are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def report(folder: Path, made: Results, rounds: list[dict[str, Any]] | None = None) -> str:
    write_report(folder, made, [a_round(1), a_round(2)] if rounds is None else rounds)
    return (folder / "report.html").read_text(encoding="utf-8")


def section(html: str, title: str) -> str:
    """The HTML of one section."""
    (found,) = [part for part in html.split("<section>") if part.lstrip().startswith(f"<h2>{title}")]
    return found[: found.index("</section>")]


def test_the_headline_epsilon_stands_beside_everything_it_needs(tmp_path: Path) -> None:
    text = _Reader(report(tmp_path, results())).text
    assert "ε = 3 for each device that takes part" in text
    assert "δ = 1e-05 · unit device · adjacency zero-out · 14 releases · 6,040 devices enrolled" in text
    assert "simulated: no production claim" in text
    assert "in the end epsilon 3 (delta 1e-05, unit device, adjacency zero-out, 14 releases, simulated)" in text


def test_the_stamp_follows_the_results(tmp_path: Path) -> None:
    assert "simulated" not in _Reader(report(tmp_path, results(simulated=False))).text


def test_the_report_says_what_is_not_protected(tmp_path: Path) -> None:
    text = _Reader(report(tmp_path, results())).text
    for said in (
        "Who takes part",
        "how large a cohort is",
        "Owners who withhold consent",
        "aggregation is trusted in this run",
        "Tuning: rounds and learning rate were chosen on validation titles carved from training data, outside epsilon",
        "ground truth of the simulator",
        "never released",
    ):
        assert said in text


def test_a_run_without_privacy_claims_none(tmp_path: Path) -> None:
    text = _Reader(report(tmp_path, results(OPEN, POPULAR), [a_round(1, epsilon_spent=None)])).text
    assert "No privacy is claimed" in text
    assert "ε = " not in text
    assert "One device's whole history" not in text


LEARNED = Released(
    round=15, epsilon=0.2378, delta=1e-5, unit="device", adjacency="zero-out", noise_scale=31.09, confidence=0.95,
    figures=tuple(
        ReleasedFigure(name=name, rate=Interval(value=value, low=low, high=high), per_device=mean, truth=truth)
        for name, value, low, high, truth in (
            ("hr@10", 0.0832, 0.0783, 0.0881, 0.0868),
            ("ndcg@10", None, 0.0, 1.0, 0.0431),
            ("popular hr@10", 0.0409, 0.0361, 0.0457, 0.0414),
            ("popular ndcg@10", 0.0211, 0.0162, 0.0259, 0.0204),
        )
        for mean in [Interval(value=0.02, low=0.01, high=0.03)]
    ),
    gain=Interval(value=0.0423, low=0.0354, high=0.0492),
)  # fmt: skip


def test_what_the_coordinator_learned_stands_beside_the_truth_and_each_says_what_it_is(tmp_path: Path) -> None:
    html = report(tmp_path, results(released=LEARNED))
    table = _Reader(section(html, "What the coordinator learned")).text
    assert "figure released 95 % interval 95 %, of all enrolled truth, never released" in table
    assert "HR@10 of the model 0.083 0.078 .. 0.088 0.010 .. 0.030 0.0868" in table
    assert "NDCG@10 of the model – 0.000 .. 1.000" in table
    assert "HR@10, model less popularity 0.042 0.035 .. 0.049 – 0.0454" in table
    assert "Alone it costs epsilon 0.238 (delta 1e-05, unit device, adjacency zero-out, 1 release)" in table
    assert "not how other devices would differ" in table
    assert "under “What the coordinator learned”" in _Reader(html).text
    assert _Reader(html).open == []


def test_a_run_that_learned_nothing_does_not_pretend_to(tmp_path: Path) -> None:
    assert "What the coordinator learned" not in _Reader(report(tmp_path, results())).text


def test_the_terminal_says_which_figure_is_released_and_which_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    print_learned(results(released=LEARNED))
    said, truth = capsys.readouterr().out.splitlines()
    assert said.startswith(
        "what the coordinator learned, released and within the budget: HR@10 0.083 (95 % 0.078 .. 0.088)"
    )
    assert said.endswith("of popularity 0.041 (95 % 0.036 .. 0.046)")
    assert truth == "ground truth of the simulator, never released: 0.0868, 0.0414"
    print_learned(results())
    assert capsys.readouterr().out == ""


def test_released_figures_are_read_back_from_the_file(tmp_path: Path) -> None:
    made = results(released=LEARNED)
    assert Results.from_json(made.to_json()) == made


STAYED = GroupRow(
    group="stayed", devices=4_000, hr_at_10=0.0851, ndcg_at_10=0.04, popular_hr_at_10=0.0411, popular_ndcg_at_10=0.02
)
LEFT = STAYED.model_copy(update={"group": "left", "devices": 2_040, "hr_at_10": 0.0832})


def test_those_who_stayed_and_those_who_left_stand_beside_each_other_in_plain_words(tmp_path: Path) -> None:
    html = report(tmp_path, results(groups=(STAYED, LEFT)))
    table = _Reader(section(html, "Those who stayed, and those who left")).text
    assert "stayed: their devices contribute 4,000 0.085 0.040 0.041 0.020" in table
    assert "left: nothing leaves theirs 2,040 0.083 0.040 0.041 0.020" in table
    assert "The model is made without her" in table
    assert "never released" in table
    assert _Reader(html).open == []
    assert Results.from_json(results(groups=(STAYED, LEFT)).to_json()).groups == (STAYED, LEFT)


def test_where_everybody_contributes_the_report_says_nothing_of_leaving(tmp_path: Path) -> None:
    assert "those who left" not in _Reader(report(tmp_path, results())).text


def test_private_rows_come_before_the_others(tmp_path: Path) -> None:
    html = report(tmp_path, results(POPULAR, EASE, OPEN, PRIOR, OURS))
    table = section(html, "Full catalogue")
    order = [table.index(f">{name}<") for name in ("prior only", "backrow, gradient", "popularity", "EASE")]
    assert order == sorted(order)


def test_the_rounds_table_has_one_line_a_round_and_marks_void_ones(tmp_path: Path) -> None:
    html = report(tmp_path, results(), [a_round(1), a_round(2, outcome="only 3 of 10 answered", participants=0)])
    table = _Reader(section(html, "Rounds")).text
    assert "1 gradient 6,040 4.20 0.210 0.500 385 KB" in table
    assert "2 gradient (void) 0 4.20" in table


def test_spent_epsilon_is_never_shown_smaller_than_it_is(tmp_path: Path) -> None:
    html = report(tmp_path, results(), [a_round(1, epsilon_spent=1.2340001)])
    assert "1.235" in _Reader(section(html, "Rounds")).text


def test_warnings_and_notes_are_shown(tmp_path: Path) -> None:
    text = _Reader(report(tmp_path, results(warnings=("delta is too large",), notes=("tuned elsewhere",)))).text
    assert "delta is too large" in text
    assert "tuned elsewhere" in text


def test_the_page_is_one_balanced_file_without_scripts_or_fetches(tmp_path: Path) -> None:
    html = report(tmp_path, results())
    reader = _Reader(html)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    namespaces = re.compile(r'xmlns(:xlink)?="[^"]*"')
    assert "http" not in namespaces.sub("", html)
    assert "@import" not in html
    assert "url(" not in re.sub(r"url\(#\w+\)", "", html)


def test_names_from_outside_are_text(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>.csv'
    html = report(tmp_path, results(dataset=evil, warnings=(f"{evil}: merged",)))
    assert "<script" not in html
    assert evil in _Reader(html).text


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    assert report(tmp_path, results()) == report(tmp_path, results())


def test_the_plot_is_an_image_with_a_description_in_the_colours_of_the_page() -> None:
    svg = frontier_svg([OURS, row("backrow", "opacus", 8.0, 0.088), PRIOR, OPEN, POPULAR], 900, 400)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    description = root.get("aria-label")
    assert description is not None
    for said in ("backrow, gradient: 0.087 at epsilon 3", "backrow, opacus: 0.088 at epsilon 8", "popularity: 0.041"):
        assert said in description
    assert "prior only, ε 3: 0.074" in description
    assert set(re.findall(r"#[0-9a-f]{6}", svg)) <= {"#000000", "#ffffff"}
    drawn = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "backrow, gradient 0.087" in drawn
    assert "popularity 0.041" in drawn


def test_seeds_of_one_model_are_one_point() -> None:
    svg = frontier_svg([OURS, row("backrow", "gradient", 3.0, 0.0811, seed=2)], 900, 400)
    assert "backrow, gradient: 0.084 at epsilon 3." in svg.replace('"', ".")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_never_overlap_and_keep_their_order(values: list[float]) -> None:
    placed = spread(values, 0.05, 0.0, 1.0)
    order = sorted(range(len(values)), key=lambda index: values[index])
    heights = [placed[index] for index in order]
    assert all(above - below >= 0.05 - 1e-9 for below, above in pairwise(heights))


def test_labels_that_have_room_stay_where_they_belong() -> None:
    assert spread([0.2, 0.8, 0.5], 0.1, 0.0, 1.0) == [0.2, 0.8, 0.5]


@pytest.mark.parametrize(("epsilon", "said"), [(1.0, "2.8"), (3.0, "20.1"), (8.0, "2,981"), (1000.0, "1.1e+304")])
def test_odds_are_rounded_up_for_reading(epsilon: float, said: str) -> None:
    assert odds(epsilon) == said


def test_a_frontier_shows_every_model_once_and_links_the_runs(tmp_path: Path) -> None:
    runs = [("one", results(row("backrow", "gradient", 1.0, 0.083), POPULAR)), ("three", results(OURS, POPULAR))]
    assert [(entry.model, entry.epsilon) for entry in frontier_rows(runs)] == [
        ("backrow", 1.0),
        ("backrow", 3.0),
        ("popularity", None),
    ]
    write_frontier(tmp_path, runs)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'href="one/report.html"' in html
    text = _Reader(html).text
    assert "What privacy costs at ε = 1, 3" in text
    assert "δ = 1e-05 · unit device · adjacency zero-out · 14 releases" in text
    assert "Runs on the same devices add up" in text


def test_a_frontier_over_different_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one data set and split"):
        write_frontier(tmp_path, [("one", results()), ("two", results(dataset="ml-100k"))])
    assert not (tmp_path / "report.html").exists()
