"""What a report says, as text: from results and rounds to the cells and sentences of the template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from backrow.privacy.units import PrivacyClaim, odds
from backrow.simulations.results import Results, Row
from backrow.simulations.wording import (
    NOTHING,
    claim_of,
    duration,
    epsilon,
    model_name,
    rate,
    significant,
    size,
    spent,
    terms,
)

if TYPE_CHECKING:
    from jinja2 import Template

PROTOCOLS: dict[Literal["full", "ncf"], str] = {
    "full": "Full catalogue",
    "ncf": "NCF protocol",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """The headline."""

    headline: str
    terms: str
    meaning: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One of the few numbers beside the headline."""

    value: str
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table: cells as text, and whether it belongs to the private models."""

    cells: tuple[str, ...]
    private: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its explanation. The first `names` columns hold words, the others numbers."""

    title: str
    lead: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    names: int
    foot: str
    compares: bool
    """Whether private lines stand out from the others."""


def template(name: str) -> "Template":
    """A template of this folder: whatever it is given is text, and a missing value is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("backrow.simulations.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def headline(rows: Sequence[Row], results: Sequence[Results]) -> Claim:
    """The claim of one run, or of several side by side.

    Args:
        rows: of the protocol that is shown first.
        results: the runs.
    """
    simulated = any(result.simulated for result in results)
    private = [row for row in rows if row.epsilon is not None and row.model == "backrow"]
    devices = f"{results[0].devices:,} devices enrolled"
    if not private:
        words = "These releases carry no noise: whoever sees them may learn what single devices hold."
        return Claim("No privacy is claimed", f"{devices} · epsilon none", words, simulated)
    if len(results) > 1:
        budgets = sorted({row.epsilon for row in private if row.epsilon is not None})
        words = (
            "Each point is a run of its own, with its own budget. Runs on the same devices add up: "
            "whoever sees two of them must count both."
        )
        named = ", ".join(f"{value:g}" for value in budgets)
        return Claim(f"What privacy costs at ε = {named}", f"{terms_line(private)} · {devices}", words, simulated)
    row = private[0]
    assert row.epsilon is not None
    words = (
        f"Whoever sees everything this run released, and knows everything about everybody else, can hardly tell one "
        f"device's whole history from an empty one: whatever they conclude is at most {odds(row.epsilon)} times "
        f"likelier with it than without, but for a failure probability of δ."
    )
    head = f"ε = {row.epsilon:g} for each device that takes part"
    return Claim(head, f"{terms_line([row])} · {devices}", words, simulated)


def terms_line(rows: Sequence[Row]) -> str:
    """Everything that must stand beside an epsilon, in one line."""
    delta, *others = terms(rows)
    return " · ".join([delta.replace("delta", "δ ="), *others])


def key_figures(rows: Sequence[Row]) -> tuple[Figure, ...]:
    """HR@10 of ours, of popularity and of ours without privacy, as far as they were run."""
    wanted = {
        "private": [row for row in rows if row.model == "backrow" and row.epsilon is not None],
        "prior": [row for row in rows if row.model == "prior"],
        "popularity": [row for row in rows if row.model == "popularity"],
        "open": [row for row in rows if row.model.startswith("backrow") and row.epsilon is None],
    }
    words = {
        "private": "this run",
        "prior": "public metadata and popularity only",
        "popularity": "popularity, the same ten for everybody",
        "open": "the same model without privacy",
    }
    return tuple(
        Figure(rate(found[0].hr_at_10), words[name]) for name, found in wanted.items() if found and len(found) == 1
    )


def model_table(protocol: Literal["full", "ncf"], rows: Sequence[Row], results: Results) -> Table:
    """All models under one protocol: private rows first, then the others."""
    private = [row for row in rows if row.private]
    others = [row for row in rows if not row.private]
    lines = [
        Line(
            (
                model_name(row),
                epsilon(row.epsilon),
                rate(row.hr_at_10),
                rate(row.ndcg_at_10),
                rate(row.recall_at_20),
                rate(row.coverage_at_10),
                size(row.bytes_up_per_device) if row.trainer else NOTHING,
                duration(row.seconds),
                spent(row.epsilon_spent),
                str(row.releases) if row.private else NOTHING,
            ),
            row.private,
        )
        for row in [*private, *others]
    ]
    lead = {
        "full": f"Each viewer's held-out title is ranked among all {results.titles:,} titles of the catalogue but "
        "those watched in training. HR@10 is the share of viewers who find it among their first ten.",
        "ncf": "The held-out title is ranked among 99 others drawn at random: easier, flattering to every model, "
        "and here only because papers report it.",
    }[protocol]
    foot = f"ε and spent ε: {terms_line(private)}; the others claim none." if private else "No row claims privacy."
    head = ("model", "ε", "HR@10", "NDCG@10", "recall@20", "coverage@10", "upload", "time", "spent ε", "releases")
    foot += " Upload: of one device in the whole run."
    return Table(PROTOCOLS[protocol], lead, head, tuple(lines), names=1, foot=foot, compares=True)


def round_table(rounds: Sequence[Mapping[str, Any]], claim: PrivacyClaim | None) -> Table:
    """What was asked in each round, of whom, and what it cost.

    Args:
        rounds: as `backrow.simulations.records.round_row` makes them.
        claim: of all rounds together.
    """
    lines = [
        Line(
            (
                str(entry["round"]),
                entry["query"] if entry["outcome"] == "released" else f"{entry['query']} (void)",
                f"{entry['participants']:,}",
                significant(entry["noise_multiplier"]),
                significant(entry["noise_scale"]),
                spent(entry["epsilon_spent"]),
                size(entry["bytes_up_per_device"]),
            )
        )
        for entry in rounds
    ]
    lead = (
        "The schedule was committed before the first round, and each round's budget was reserved before its first "
        "message: a crash can waste budget, never hide it."
    )
    foot = "Spent ε is of all rounds so far"
    foot += f"; in the end {claim}." if claim else "; no privacy is claimed."
    head = ("round", "query", "cohort", "noise multiplier", "noise scale", "spent ε", "upload")
    return Table("Rounds", lead, head, tuple(lines), names=2, foot=foot, compares=False)


def final_claim(rows: Sequence[Row], results: Results) -> PrivacyClaim | None:
    """Claim of the run's own model at the epsilon it spent."""
    return next((claim_of(row, simulated=results.simulated) for row in rows if row.model == "backrow"), None)


def protected(results: Results, private: bool) -> tuple[str, ...]:
    """What is protected."""
    kept = (
        "Watch histories, searches and ratings, and what the device infers from them for its owner: they stay on the "
        "device, where the recommendations are made.",
    )
    if not private:
        return kept
    return (
        "One device's whole history, against everybody who sees what was released: the noisy sums and the model made "
        "from them. The epsilon above is about that, all releases counted.",
        *kept,
        "The model itself: the same signed bytes for everybody, verified by the device before use.",
    )


def unprotected(results: Results) -> tuple[str, ...]:
    """What is not protected; nothing of this may be left out of a report."""
    trust = (
        "Single contributions, from the edge that adds them: aggregation is trusted in this run. Clipping and noise "
        "protect what is released; only a secure sum would also hide what is sent."
        if results.aggregation == "trusted"
        else "What the members of a cohort learn by colluding beyond the share that was allowed for."
    )
    simulated = (
        ("Anything in production: this is a simulation. Its noise comes from a seed or is floating point, and whoever "
         "knows the seed can subtract it.",)
        if results.simulated
        else ()
    )  # fmt: skip
    return (
        "Who takes part and how large a cohort is: the coordinator sees both.",
        "Owners who withhold consent: they send nothing, so it is their silence that protects them, not epsilon.",
        trust,
        "What many have in common: that is what is learned, on purpose.",
        "Tuning: rounds and learning rate were chosen on validation titles carved from training data, outside epsilon.",
        *simulated,
    )


def aggregation_words(results: Results) -> str:
    """Who saw single contributions and where the noise came from."""
    noise = {"once": "noise drawn once on the sum", "shares": "noise added in shares"}.get(results.noise, results.noise)
    if results.aggregation == "secure":
        return f"secure: {results.masked_messages:,} masked answers, seen by nobody but their device; {noise}"
    return f"{results.aggregation}: edges see single answers; {noise}"


def facts(runs: Sequence[Results]) -> tuple[tuple[str, str], ...]:
    """Data set and engines; the runs share the data set and its split."""
    results = runs[0]
    split = {
        "ncf": "ncf: the published test titles, one for each viewer",
        "last": "last: each viewer's last title in time is held out",
    }.get(results.split.removesuffix("-tuning"), results.split)
    engines = dict.fromkeys(f"{run.engine} with {run.nodes} node{'s' * (run.nodes > 1)}" for run in runs)
    return (
        ("Data set", f"{results.dataset}, {results.devices:,} viewers, one device each"),
        ("Catalogue", f"{results.titles:,} titles"),
        ("Split", split),
        ("Engine", f"{', '.join(engines)}; a node hosts many devices; results do not depend on how many"),
        ("Aggregation", aggregation_words(results)),
    )
