"""Writes report.html: one file that holds everything it shows, without a script."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from backrow.simulations.report import page
from backrow.simulations.report.learned import LEARNED, learned_table
from backrow.simulations.report.plot import frontier_svg
from backrow.simulations.report.stayed import stayed_table
from backrow.simulations.results import Results, Row, write_whole

REPORT = "report.html"
_WIDE, _NARROW = (940, 450), (350, 380)
"""The plot twice, in CSS pixels: the page shows the one that fits."""


def write_report(folder: Path, results: Results, rounds: Sequence[Mapping[str, Any]]) -> None:
    """Write one run's report.html.

    Args:
        folder: of the run; exists.
        results: of the run.
        rounds: as `backrow.simulations.records.round_row` makes them.
    """
    claim = page.final_claim(results.rows, results)
    optional = (stayed_table(results), learned_table(results))
    tables = [
        *_model_tables(results.rows, results),
        *(table for table in optional if table is not None),
        page.round_table(rounds, claim),
    ]
    write_whole(folder / REPORT, _render([results], results.rows, tables, links=()))


def write_frontier(folder: Path, runs: Sequence[tuple[str, Results]]) -> None:
    """Write report.html over several runs on the same data and split.

    Args:
        folder: exists; holds the run folders.
        runs: name of each run's folder in `folder`, and its results.

    Raises:
        ValueError: no runs, or runs on different data.
    """
    if len({(result.dataset, result.split, result.devices, result.titles) for _, result in runs}) != 1:
        raise ValueError("a frontier compares runs on one data set and split")
    rows = frontier_rows(runs)
    links = tuple((f"{name}/{REPORT}", name) for name, _ in runs)
    tables = _model_tables(rows, runs[0][1])
    write_whole(folder / REPORT, _render([result for _, result in runs], rows, tables, links))


def frontier_rows(runs: Sequence[tuple[str, Results]]) -> list[Row]:
    """The rows of several runs, each model once: what is private first, by epsilon; then the rest, by HR@10."""
    distinct = {
        (row.model, row.trainer, row.protocol, row.epsilon, row.seed): row for _, result in runs for row in result.rows
    }
    return sorted(distinct.values(), key=_frontier_order)


def _frontier_order(row: Row) -> tuple[bool, bool, float, str]:
    """Prior, then ours by epsilon; then what claims no privacy, ours first, then by HR@10."""
    if row.epsilon is None:
        return (True, not row.model.startswith("backrow"), row.hr_at_10, row.model)
    return (False, row.model == "backrow", row.epsilon, row.trainer or "")


def _model_tables(rows: Sequence[Row], results: Results) -> list[page.Table]:
    protocols: tuple[Literal["full", "ncf"], ...] = ("full", "ncf")
    shown = {protocol: [row for row in rows if row.protocol == protocol] for protocol in protocols}
    return [page.model_table(protocol, found, results) for protocol, found in shown.items() if found]


def _render(
    runs: Sequence[Results], rows: Sequence[Row], tables: Sequence[page.Table], links: tuple[tuple[str, str], ...]
) -> str:
    from markupsafe import Markup

    first = runs[0]
    full = [row for row in rows if row.protocol == "full"]
    shown = full or list(rows)
    return page.template("report.html.j2").render(
        title=f"backrow on {first.dataset}",
        eyebrow=f"{first.dataset} · split {first.split} · {'full catalogue' if full else 'NCF protocol'}",
        claim=page.headline(shown, runs),
        figures=page.key_figures(full) if len(runs) == 1 else (),
        plots=[Markup(frontier_svg(full, *shape)) for shape in (_WIDE, _NARROW)] if full else [],
        tables=tables,
        protected=page.protected(first, any(row.private for row in rows)),
        unprotected=page.unprotected(first),
        facts=page.facts(runs),
        warnings=list(dict.fromkeys(text for run in runs for text in run.warnings)),
        notes=list(dict.fromkeys(text for run in runs for text in run.notes)),
        extras=[(name, value) for run in runs for name, value in sorted(run.extras.items())],
        links=links,
        learned=any(table.title == LEARNED for table in tables),
    )
