"""A scenario: everything that decides a run, validated; read by `scenario_file`, written as run.toml.

Defaults are the reference scenario. A model's fields left empty follow `backrow.server.defaults`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from backrow.simulations.scenario_generated import GeneratedSection
from backrow.simulations.scenario_trainers import EventSection, SgdSection
from backrow.simulations.section import Section

NO_PRIVACY = "none"
"""TOML has no null: `epsilon = "none"` claims no privacy and adds no noise."""

GENERATED = "generated"
"""The data set that `[generated]` describes."""

EngineName = Literal["inprocess", "flower"]
TrainerName = Literal["auto", "sequence", "gradient", "subspace", "sgd", "opacus", "opacus-event", "prior"]
BaselineName = Literal["popularity", "puresvd", "ease", "ials", "ease-recent", "transitions", "sasrec"]
ProtocolName = Literal["full", "ncf"]


def _none_word(value: object) -> object:
    return None if value == NO_PRIVACY else value


def as_tuple(value: object) -> object:
    """TOML knows lists only."""
    return tuple(value) if isinstance(value, list) else value


Budget = Annotated[
    float | None,
    BeforeValidator(_none_word),
    PlainSerializer(lambda value: NO_PRIVACY if value is None else value, when_used="json"),
]


class DataSection(Section):
    """Which viewing data, and how it is split.

    Attributes:
        name: of a known data set, or "generated"; exactly one of name and path.
        path: of a CSV or Parquet file.
        split: "ncf" (the published test titles of ml-1m), "last" (each viewer's last title) or "auto".
        catalogue: "rated" titles only, or "all" that the publisher lists.
        signals: "interactions" (every watched title counts the same), "plays" (1 + ln of how often it was watched) or
            "events" (ratings become generated watch events, and those the device's own confidence weights).
        recent_days: public window of the recent counts, in days.
        order: whether devices know the order of watching, for the trainer "auto"; "unknown" also hides it from them.
            None: as the data set declares (`Dataset.ordered`).
    """

    name: str | None = Field(default=None, min_length=1)
    path: Annotated[Path | None, Field(strict=False)] = None
    split: Literal["auto", "ncf", "last"] = "auto"
    catalogue: Literal["rated", "all"] = "rated"
    signals: Literal["interactions", "plays", "events"] = "interactions"
    recent_days: int = Field(default=28, ge=1, le=36_500)
    order: Literal["known", "unknown"] | None = None

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        if (self.name is None) == (self.path is None):
            said = "both are given" if self.name is not None else "neither is given"
            raise ValueError(f"give either name (a known data set) or path (a CSV or Parquet file); {said}")
        return self


class PrivacySection(Section):
    """The budget and who is trusted. None: by the number of devices (`pipeline.places_of`).

    Attributes:
        epsilon: budget of everything the run releases, > 0; None claims no privacy.
        delta: failure probability of the claim, in (0, 1).
        aggregation: "secure": nobody but the device sees its contribution; "trusted": the edge that adds sees them.
        noise: "shares": every device adds its share; "once": drawn by the coordinator on the sum.
        adversaries, dropouts: fractions of a cohort that a secure sum stands; shares of the noise are sized for
            that many that leave theirs out.
    """

    epsilon: Budget = Field(default=3.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)
    aggregation: Literal["trusted", "secure"] | None = None
    noise: Literal["once", "shares"] | None = None
    adversaries: float = Field(default=0.05, ge=0, lt=1)
    dropouts: float = Field(default=0.05, ge=0, lt=1)


class ModelSection(Section):
    """The public numbers of training. None: `backrow.server.defaults` decides by trainer and epsilon.

    Attributes:
        rounds: training rounds after the counts.
        learning_rate: of the gradient trainers, > 0.
        popularity_share, recent_share: of the budget (mu squared); what all shares leave is for training.
        evaluation_share: for one question, after the last round, how well the model ranks each owner's held-out
            title; 0 does not ask.
        alpha0, ridge: weight of titles not watched, and of the user factors' norm, in the local solve.
    """

    rounds: int | None = Field(default=None, ge=0, le=10_000)
    learning_rate: float | None = Field(default=None, gt=0)
    popularity_share: float = Field(default=0.1, gt=0, lt=1)
    recent_share: float = Field(default=0.02, ge=0, lt=1)
    evaluation_share: float = Field(default=0.01, ge=0, lt=1)
    alpha0: float = Field(default=0.4, gt=0)
    ridge: float = Field(default=0.1, gt=0)

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.popularity_share + self.recent_share + self.evaluation_share >= 1:
            raise ValueError(
                "popularity_share, recent_share and evaluation_share must leave some budget for training: lower them"
            )
        return self


class CohortSection(Section):
    """Who is asked.

    Attributes:
        minimum: smallest cohort whose sum is released; None: a rule of the runner.
        withheld: share of owners who withhold consent, in [0, 1).
        dropouts: share of devices that vanish at some step of every secure sum, in [0, 1).
        whole: edges that are trusted compute the answers of all their devices at once, where they can; false: device
            by device. Both claim the same; sums differ by their rounding.
        workers: threads of an edge that does. Results do not depend on them.
        availability: "always", or "by-hour": four times as many devices are within reach at night as by day.
        round_hours: hours from one round to the next, for "by-hour".
        stragglers: share of answers that miss the deadline of their round, in [0, 1): they do not count.
    """

    minimum: int | None = Field(default=None, ge=1)
    withheld: float = Field(default=0.0, ge=0, lt=1)
    dropouts: float = Field(default=0.0, ge=0, lt=1)
    whole: bool = True
    workers: int = Field(default=1, ge=1, le=1_024)
    availability: Literal["always", "by-hour"] = "always"
    round_hours: float = Field(default=1.0, gt=0, le=8_760)
    stragglers: float = Field(default=0.0, ge=0, lt=1)


class ConsentSection(Section):
    """What owners say, besides `cohort.withheld`, and how it changes.

    Attributes:
        opt_outs: share of owners who have opted out for the whole account, in [0, 1): the coordinator's list.
        children: share of child profiles, in [0, 1): they never contribute.
        taste: from -1 (who withholds or opts out watches what few watch) over 0 (anybody) to 1 (what most watch).
        flips: probability, per round, that an owner who is neither says the opposite from there on.
        offline: probability, per round, that a device is away.
    """

    opt_outs: float = Field(default=0.0, ge=0, lt=1)
    children: float = Field(default=0.0, ge=0, lt=1)
    taste: float = Field(default=0.0, ge=-1, le=1)
    flips: float = Field(default=0.0, ge=0, le=1)
    offline: float = Field(default=0.0, ge=0, lt=1)


class RetrainSection(Section):
    """Of which run this is the one without some devices; written by `backrow retrain-from`, not by hand.

    Attributes:
        run: id of the earlier run.
        entries, ledger: size and root (hex) of its ledger.
        left_out, root: how many devices, and the keyed commitment to their pseudonyms (hex).
        mu: Gaussian-DP parameter of everything reserved before; None: no privacy was claimed.
        releases, coordinates: how much that covers.
    """

    run: str = Field(min_length=1)
    entries: int = Field(ge=1)
    ledger: str
    left_out: int = Field(ge=1)
    root: str
    mu: float | None = Field(default=None, gt=0)
    releases: int = Field(ge=1)
    coordinates: int = Field(ge=1)


class EvaluationSection(Section):
    """What is measured. Ground truth of the simulator: nothing of it is ever released (`evaluation_share` is).

    Attributes:
        protocols: "full" (the whole catalogue) and "ncf" (99 sampled negatives, for comparison with papers).
        baselines: non-private models fitted beside ours; the last three use the order of watching, and "sasrec" takes
            minutes.
        tuning: evaluate on the validation titles, carved from training, instead of the test titles.
        sample: devices of a generated population that models are measured on, a public random sample.
    """

    protocols: Annotated[tuple[ProtocolName, ...], BeforeValidator(as_tuple)] = Field(("full", "ncf"), min_length=1)
    baselines: Annotated[tuple[BaselineName, ...], BeforeValidator(as_tuple)] = (
        "popularity",
        "puresvd",
        "ease",
        "ials",
    )
    tuning: bool = False
    sample: int = Field(default=20_000, ge=100)

    @field_validator("protocols", "baselines")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("name each of them once")
        return value


class Scenario(Section):
    """One run. Equal scenarios give equal releases.

    Attributes:
        seed: of everything a simulation draws.
        nodes: Flower nodes; each hosts its part of the devices. Results do not depend on it.
        engine: "inprocess" (this process) or "flower" (Flower's simulation on Ray). Results do not depend on it.
        trainer: how devices compute their answers; "prior" asks counts only. "auto": by the public rule
            `server.defaults.default_trainer`.
        retrain: only in run.toml of a run that leaves devices out of an earlier one.
    """

    seed: int = Field(default=1, ge=0, lt=2**63)
    nodes: int = Field(default=1, ge=1, le=10_000)
    engine: EngineName = "inprocess"
    trainer: TrainerName = "auto"
    data: DataSection
    generated: GeneratedSection = GeneratedSection()
    privacy: PrivacySection = PrivacySection()
    model: ModelSection = ModelSection()
    cohort: CohortSection = CohortSection()
    consent: ConsentSection = ConsentSection()
    event: EventSection = EventSection()
    sgd: SgdSection = SgdSection()
    evaluation: EvaluationSection = EvaluationSection()
    retrain: RetrainSection | None = None

    @model_validator(mode="after")
    def _generated_is_asked_for(self) -> Self:
        if self.data.name != GENERATED and self.generated != GeneratedSection():
            raise ValueError(
                '[generated] describes a population that data.name = "generated" asks for: name it, or drop it'
            )
        return self

    @model_validator(mode="after")
    def _opacus_adds_in_the_clear(self) -> Self:
        privacy = self.privacy
        by_device = privacy.aggregation == "secure" or privacy.noise == "shares"
        if by_device and self.trainer == "opacus" and privacy.epsilon is not None:
            raise ValueError(
                "the trainer opacus adds its noise to whole blocks, in floating point, where the edge sees single "
                'contributions: use gradient, or aggregation "trusted" with noise "once"'
            )
        return self

    def in_the_clear(self) -> Self:
        """The same with trusted edges and the noise drawn once on the sum: quicker, and no release says less."""
        places = {"aggregation": "trusted", "noise": "once"}
        return self.model_copy(update={"privacy": self.privacy.model_copy(update=places)})

    def to_toml(self) -> str:
        """The resolved scenario as TOML; `scenario_file.load_scenario` reads it back to an equal one."""
        told = self.model_dump(mode="json", exclude=None if self.data.name == GENERATED else {"generated"})
        return tomli_w.dumps(without_none(told))


def without_none(table: dict[str, Any]) -> dict[str, Any]:
    """TOML has no null: a key left out takes its default, which for these keys is None."""
    return {
        key: without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
