"""The terminal: progress and warnings to standard error, results to standard output."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from backrow.privacy.units import Adjacency, PrivacyUnit
from backrow.simulations.progress import Observer
from backrow.simulations.progress import Progress as News
from backrow.simulations.results import Results, Row
from backrow.simulations.scenario import PrivacySection
from backrow.simulations.wording import (
    NOTHING,
    claim_of,
    duration,
    epsilon,
    learned,
    model_name,
    rate,
    size,
    spent,
    terms,
)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """Text from outside, without what could steer a terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def say(text: str, style: str = "", to: Console = out) -> None:
    """Print words: wrapped between words on a terminal, one line for a program that reads them."""
    to.print(text, style=style, soft_wrap=not to.is_terminal, markup=False)


def print_error(message: str) -> None:
    """One line per sentence, each starting with "error:"."""
    for sentence in message.splitlines():
        say(f"error: {sentence}", "red", err)


def print_warnings(warnings: Iterable[str]) -> None:
    """What a reader must know before believing the figures."""
    for text in dict.fromkeys(warnings):
        say(f"warning: {text}", "yellow", err)


def budget_words(privacy: PrivacySection) -> str:
    """The budget before a run, with what must stand beside it."""
    if privacy.epsilon is None:
        return "no privacy is claimed: nothing is noised"
    return (
        f"budget: epsilon {privacy.epsilon:g} (delta {privacy.delta:g}, unit {PrivacyUnit.DEVICE}, "
        f"adjacency {Adjacency.ZERO_OUT}), for all releases of the run together"
    )


@contextmanager
def progress() -> Iterator[Observer]:
    """An observer: a live bar on a terminal, one plain line per piece of news elsewhere."""
    if not err.is_terminal:
        yield _say_plainly
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=max(4, min(24, err.width - 88))),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        yield _LiveBar(bars)


class _LiveBar:
    """One line that shows what is being done now."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._text = ""

    def __call__(self, news: News) -> None:
        if self._task is None or news.text != self._text:
            if self._task is not None:
                self._bars.remove_task(self._task)
            total = news.rounds if news.kind == "round" else None
            self._task = self._bars.add_task(escape(news.text), total=total, detail="")
            self._text = news.text
        if news.kind == "round":
            self._bars.update(self._task, completed=news.round, detail=_round_words(news))


def _say_plainly(news: News) -> None:
    text = f"{news.text}: {_round_words(news)}" if news.kind == "round" else news.text
    print(text, file=sys.stderr, flush=True)


def _round_words(news: News) -> str:
    parts = [f"round {news.round}/{news.rounds}", f"cohort {news.cohort:,}"]
    if news.epsilon is not None:
        parts.append(f"epsilon spent {spent(news.epsilon_spent)}/{news.epsilon:g}")
    if news.seconds_left is not None:
        parts.append(f"{duration(news.seconds_left)} left")
    return ", ".join(parts)


def print_results(results: Results) -> None:
    """The tables of one run, one per protocol, and its claim."""
    ranked = f"{results.dataset}, split {results.split}, {results.devices:,} devices, {results.titles:,} titles"
    if full := results.under("full"):
        print_rows(f"Full catalogue: {ranked}", full)
    if sampled := results.under("ncf"):
        print_rows("NCF protocol: the held-out title among 99 others, so higher and not to be compared", sampled)
    for row in results.rows[:1]:
        claim = claim_of(row, simulated=results.simulated)
        say(f"{model_name(row)}: {claim or 'no privacy claimed'}")
    print_learned(results)


def print_learned(results: Results) -> None:
    """What the coordinator learned of the model's quality, beside the truth that only a simulator knows."""
    if results.released is not None:
        released, truth = learned(results.released)
        say(released)
        say(truth, "dim")


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """One table: private rows first, then those that claim nothing."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("model", no_wrap=True)
    for name in ("epsilon", "HR@10", "NDCG@10", "upload/device", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    private = [row for row in rows if row.private]
    for row in [*private, *(row for row in rows if not row.private)]:
        table.add_row(
            model_name(row),
            epsilon(row.epsilon),
            rate(row.hr_at_10),
            rate(row.ndcg_at_10),
            size(row.bytes_up_per_device) if row.trainer else NOTHING,
            duration(row.seconds),
            style="" if row.private else "dim",
        )
    say(f"\n{title}", "bold")
    out.print(table)
    if private:
        say(f"epsilon: {', '.join(terms(private))}", "dim")
    out.print()
