"""One simulated viewer in front of a run's published model: her device, her events, her picks."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backrow.client.events import EventKind, WatchEvent
from backrow.client.model import PublicModel
from backrow.client.recommend import Pick, recommend
from backrow.client.weights import confidence
from backrow.privacy.bundle import open_bundle
from backrow.privacy.errors import BundleError, DataError, ScenarioError
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.event_generator import generate
from backrow.simulations.pipeline import DAY
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import load_scenario

PUBLIC_KEY = "coordinator.pub"


@dataclass(frozen=True, slots=True)
class Shelf:
    """What one viewer is shown.

    Attributes:
        watched: how many titles her device knows she watched.
        last_watched: names of the latest of them, latest first.
        picks: best first.
    """

    watched: int
    last_watched: tuple[str, ...]
    picks: tuple[Pick, ...]


def picks_for(run: Path, user: str | None, count: int) -> Shelf:
    """Recommendations as the viewer's own device computes them from the run's signed bundle.

    Args:
        run: a run folder.
        user: a viewer's name in the run's data set; None: somebody who has watched nothing yet.
        count: how many picks, >= 1.

    Raises:
        ScenarioError: this is no run folder.
        BundleError, SignatureError: its model is damaged or not signed by its coordinator.
        DataError: the data set cannot be had, or knows no such viewer.
    """
    if not (run / "run.toml").is_file():
        raise ScenarioError(f"{run} is no run folder: it has no run.toml; make one with backrow simulate")
    scenario = load_scenario(run / "run.toml")
    model = PublicModel.from_bundle(open_bundle(run / "bundle", pinned_key(run)))
    events: list[WatchEvent] = []
    if user is not None:
        dataset = load(str(scenario.data.name or scenario.data.path), catalogue=scenario.data.catalogue)
        events = events_of(scenario, dataset, user)
    now = max((event.at for event in events), default=0) + 1
    preferences = confidence(events, model.rows, now, scenario.data.recent_days * DAY)
    names = dict(zip(model.ids, model.names, strict=True))
    latest = tuple(names.get(title, title) for title in preferences.watched[:3])
    return Shelf(len(preferences.watched), latest, tuple(recommend(model, preferences, count)))


def pinned_key(run: Path) -> bytes:
    """The coordinator's public key as the run folder pins it.

    Raises:
        BundleError: it is missing or no key.
    """
    try:
        key = bytes.fromhex((run / PUBLIC_KEY).read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise BundleError(
            f"{run / PUBLIC_KEY} is missing or no key: the model cannot be verified and is not used"
        ) from None
    if len(key) != 32:
        raise BundleError(f"{run / PUBLIC_KEY} holds {len(key)} bytes, a key has 32: the model cannot be verified")
    return key


def events_of(scenario: Scenario, dataset: Dataset, user: str) -> list[WatchEvent]:
    """Everything the viewer did, as her device recorded it, by the scenario's rule for signals.

    Raises:
        DataError: no such viewer.
    """
    try:
        viewer = dataset.viewers.index(user)
    except ValueError:
        example = ", ".join(dataset.viewers[:3])
        raise DataError(
            f"{dataset.name} has no viewer {user!r}; it has {len(dataset.viewers):,}, such as {example}. "
            "Leave --user out to see what somebody new is shown"
        ) from None
    rows = dataset.interactions
    mine = np.flatnonzero(rows.user == viewer)
    if scenario.data.signals == "events":
        return list(generate(rows, mine, dataset.catalogue, scenario.seed, user))
    counted = scenario.data.signals == "plays" and rows.plays is not None
    return [
        WatchEvent(EventKind.COMPLETE, int(rows.timestamp[row]), dataset.catalogue.ids[rows.title[row]])
        for row in mine
        for _ in range(int(rows.plays[row]) if counted and rows.plays is not None else 1)
    ]
