"""Where a schedule to explain comes from: the signed ledger of a run folder, or a scenario that has not run."""

import time
from collections.abc import Sequence
from pathlib import Path

from backrow.privacy.errors import ScenarioError
from backrow.privacy.ledger.entries import PolicyEntry, ReserveEntry
from backrow.privacy.ledger.files import LEDGER, read_files
from backrow.privacy.ledger.parts import Basis
from backrow.privacy.ledger.verification import verify_files
from backrow.simulations.pipeline import commit, prepare
from backrow.simulations.scenario_file import load_scenario
from backrow.simulations.study.explain import Before, Explained, explain
from backrow.simulations.viewer import pinned_key


def explain_path(path: Path, overrides: Sequence[str] = ()) -> Explained:
    """What a run has reserved, or what a scenario would.

    Args:
        path: a run folder, whose ledger is verified against its own coordinator.pub; or a scenario file.
        overrides: of the scenario, as for `load_scenario`.

    Raises:
        ScenarioError: it is neither, or a run reserved nothing.
        LedgerError and its kin: the ledger is damaged or not signed by that key.
    """
    if (path / LEDGER).is_file():
        if overrides:
            raise ScenarioError("a run's ledger says what it reserved: --set is for a scenario file")
        return _of_run(path)
    if path.is_dir():
        raise ScenarioError(f"{path} is no run folder: it has no {LEDGER}")
    scenario = load_scenario(path, overrides)
    schedule = commit(scenario, prepare(scenario, now=int(time.time()))).schedule
    return explain(path.name, schedule.rounds, [False] * len(schedule.rounds), schedule.epsilon, schedule.delta)


def _of_run(run: Path) -> Explained:
    bodies = [entry.body for entry in verify_files(read_files(run), pinned_key(run)).entries]
    reserved = [body for body in bodies if isinstance(body, ReserveEntry)]
    policy = next((body for body in bodies if isinstance(body, PolicyEntry)), None)
    if policy is None or not reserved:
        raise ScenarioError(f"{run} has reserved nothing: there is nothing to explain")
    before = None
    if (run / "run.toml").is_file() and (earlier := load_scenario(run / "run.toml").retrain) is not None:
        if earlier.mu is None:
            raise ScenarioError(f"{run} repeats a run that claimed no privacy: together they have no epsilon")
        before = Before(earlier.mu, earlier.releases, earlier.coordinates)
    added = [body.basis is Basis.ADDITION for body in reserved]
    return explain(run.resolve().name, [body.plan for body in reserved], added, policy.epsilon, policy.delta, before)
