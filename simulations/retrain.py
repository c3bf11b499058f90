"""`backrow retrain-from`: a model without the devices that have opted out since, as a new run on top of the old one.

Nothing is subtracted: the same scenario runs anew from its first round, without them. Noise and all other randomness
of the run are drawn anew; the owners, their histories and their keys are the same.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backrow.privacy.accounting.gaussian import compose
from backrow.privacy.audit.evidence import LISTS, PUBLIC_KEY, Lists
from backrow.privacy.errors import ScenarioError
from backrow.privacy.ledger.entries import PolicyEntry, PublicationEntry, ReserveEntry, ScheduleEntry
from backrow.privacy.ledger.files import LEDGER, read_files
from backrow.privacy.ledger.parts import Stamp
from backrow.privacy.ledger.pseudonyms import PseudonymList
from backrow.privacy.ledger.verification import VerifiedLedger, verify_files
from backrow.server.suppression import COORDINATOR, ENROLLED, SUPPRESSION, SuppressionList
from backrow.simulations.left_out import (
    coordinates,
    keep_left_out,
    leave_out,
    mu_of,
    multipliers,
    read_left_out,
    terms_of,
)
from backrow.simulations.pipeline import Prepared, commit, run_id
from backrow.simulations.population import device_name
from backrow.simulations.progress import Observer, ignore
from backrow.simulations.results import Results
from backrow.simulations.retrained import Retrained
from backrow.simulations.runner import prepare_loudly, run
from backrow.simulations.scenario import RetrainSection, Scenario
from backrow.simulations.scenario_file import load_scenario
from backrow.simulations.training import coordinator_key, epoch_key


@dataclass(frozen=True, slots=True)
class Offer:
    """A model without some devices, before anybody is asked for it.

    Attributes:
        folder: of the earlier run.
        scenario: of the new one.
        prepared: data and people; those left out never grant.
        left_out: their pseudonyms, sorted.
        terms: what it costs, and what it does not do.
    """

    folder: Path
    scenario: Scenario
    prepared: Prepared
    left_out: tuple[str, ...]
    terms: Retrained

    def begin(self, draft: Path) -> None:
        """Write what the new run folder begins with: the earlier run's list of opt-outs, and who is left out."""
        place = draft / COORDINATOR
        place.mkdir()
        for name in (SUPPRESSION, ENROLLED):
            if (self.folder / COORDINATOR / name).exists():
                shutil.copyfile(self.folder / COORDINATOR / name, place / name)
        keep_left_out(draft, self.left_out)


def offer(folder: Path, named: Sequence[str] = (), *, observe: Observer = ignore) -> Offer:
    """What retraining would be. Reads the earlier run, changes nothing.

    Args:
        folder: of a finished run.
        named: pseudonyms to leave out besides those on the run's list of opt-outs.

    Raises:
        ScenarioError: it is no such run, or nobody in its model is to be left out.
        LedgerError and its kin, SignatureError, SuppressionError: its ledger or its list is damaged.
    """
    scenario = _scenario(folder)
    ledger = verify_files(read_files(folder), coordinator_key(scenario.seed).public)
    listed, in_model = SuppressionList.open(folder / COORDINATOR).opted_out, _in_model(folder)
    prepared = prepare_loudly(scenario, observe)
    _check(folder, ledger, run_id(scenario, prepared.dataset))
    everybody = {device_name(slot) for slot in range(len(prepared.population))}
    if strangers := sorted({*named} - everybody):
        raise ScenarioError(f"{strangers[0]!r} is no device of this run: they are {min(everybody)} to {max(everybody)}")
    before = () if scenario.retrain is None else read_left_out(folder)  # they stay out
    left_out = tuple(sorted({*listed, *named, *before}))
    if not in_model.intersection(left_out):
        raise ScenarioError(
            f"nobody who opted out has taken part in {folder}: its model is without them already. Put an owner's "
            f"request on its list (backrow opt-out {folder} REQUEST), or name a device with --device"
        )
    prepared = leave_out(prepared, left_out)
    section = _section(scenario, ledger, left_out)
    later = scenario.model_copy(update={"retrain": section})
    return Offer(folder, later, prepared, left_out, terms_of(section, commit(later, prepared).schedule))


def retrain(offered: Offer, out: Path, *, observe: Observer = ignore) -> Results:
    """Run it. The devices left out are on the list of opt-outs, or never asked, from round 1 on.

    Baselines are not fitted: they would be of everybody's histories.

    Args:
        out: run folder to write; must not exist.

    Raises: as `runner.run`.
    """
    return run(offered.scenario, out, observe=observe, baselines=False, prepared=offered.prepared, begin=offered.begin)


def _scenario(folder: Path) -> Scenario:
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if folder.name.endswith(".unfinished") or (not folder.exists() and unfinished.exists()):
        raise ScenarioError(f"{folder} is not finished: go on with it first (backrow simulate --resume {folder})")
    if not all((folder / name).is_file() for name in ("run.toml", LEDGER, PUBLIC_KEY)):
        raise ScenarioError(f"{folder} is no run folder: name one that holds run.toml, a ledger and {PUBLIC_KEY}")
    return load_scenario(folder / "run.toml")


def _in_model(folder: Path) -> frozenset[str]:
    """Who was asked in any round that was released."""
    try:
        people = Lists.parse((folder / LISTS).read_bytes()).participants.values()
    except OSError as problem:
        raise ScenarioError(
            f"{folder / LISTS} cannot be read ({problem.strerror}): without it nobody knows who is in the model"
        ) from None
    return frozenset(name for names in people for name in names)


def _check(folder: Path, ledger: VerifiedLedger, name: str) -> None:
    bodies = [entry.body for entry in ledger.entries]
    if any(isinstance(body, PolicyEntry) and body.stamp is not Stamp.SIMULATED for body in bodies):
        raise ScenarioError(
            f"{folder} is a production run: its devices are not in this simulator, and a simulated model cannot take "
            "its place. Its coordinator commits a new schedule and asks whoever is not on its list"
        )
    if [body.schedule.run_id for body in bodies if isinstance(body, ScheduleEntry)] != [name]:
        raise ScenarioError(f"data or settings of {folder} are no longer those of its ledger: it cannot be run again")
    if not any(isinstance(body, PublicationEntry) for body in bodies):
        raise ScenarioError(f"{folder} has published no model: there is none to retrain")


def _section(scenario: Scenario, ledger: VerifiedLedger, left_out: tuple[str, ...]) -> RetrainSection:
    """What the new run says of the earlier one, and of those before it."""
    plans = [entry.body.plan for entry in ledger.entries if isinstance(entry.body, ReserveEntry)]
    noise, before = multipliers(plans), scenario.retrain
    mu = None if noise is None or scenario.privacy.epsilon is None else compose(1 / each for each in noise)
    return RetrainSection(
        run=plans[0].run_id,
        entries=ledger.tree.size,
        ledger=ledger.signed.checkpoint.root.hex(),
        left_out=len(left_out),
        root=PseudonymList(epoch_key(scenario.seed), left_out).commitment.root.hex(),
        mu=mu if before is None else mu_of(before.mu, mu),
        releases=len(plans) + (0 if before is None else before.releases),
        coordinates=coordinates(plans) + (0 if before is None else before.coordinates),
    )
