"""What `make demo` runs: real data, Flower and Ray, the privacy-utility frontier, one viewer's shelf, her opt-out."""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backrow.privacy.audit.demo import tamper_demo
from backrow.privacy.audit.model import State
from backrow.privacy.audit.verify import verify
from backrow.privacy.errors import DataError
from backrow.privacy.signing import SigningKey
from backrow.simulations import console
from backrow.simulations.cli_recommend import print_shelf
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.demo_opt_out import show_opt_out
from backrow.simulations.pipeline import prepare
from backrow.simulations.report.run_report import REPORT, frontier_rows, write_frontier
from backrow.simulations.results import Results
from backrow.simulations.runner import refuse_existing, run
from backrow.simulations.scenario import Scenario
from backrow.simulations.scenario_file import make_scenario
from backrow.simulations.viewer import Shelf, picks_for
from backrow.simulations.wording import duration

PREFERRED = ("ml-1m", "ml-100k")
NODES = 4
EPSILONS = (1.0, 3.0, 8.0)
SHOWN = "sequence-3"
"""The run whose model recommends to the viewer."""
OPT_OUT = "opt-out"
"""Folder of the rounds in which she opts out."""


@dataclass(frozen=True, slots=True)
class Part:
    """One run of the demo.

    Attributes:
        name: of its folder.
        baselines: also popularity, the prior alone, ours without privacy and the non-private references.
    """

    name: str
    trainer: str
    epsilon: float
    engine: str = "inprocess"
    baselines: bool = False


def parts() -> tuple[Part, ...]:
    """The runs, in order: Flower first."""
    ours = [Part(f"gradient-{epsilon:g}", "gradient", epsilon) for epsilon in EPSILONS]
    ours += [Part(f"sequence-{epsilon:g}", "sequence", epsilon, baselines=epsilon == 3.0) for epsilon in EPSILONS]
    return (Part("flower-opacus-3", "opacus", 3.0, engine="flower"), *ours, Part("opacus-8", "opacus", 8.0))


def run_demo(folder: Path, data: str | None) -> None:
    """Run all parts and print what they found.

    Args:
        folder: must not exist.
        data: a data set's name; None: the largest that can be had.

    Raises:
        ScenarioError: the folder exists.
        DataError: no data set can be had.
    """
    refuse_existing(folder)
    started = time.monotonic()
    dataset = _largest(data)
    console.say(
        f"{dataset.name} (from {dataset.source}): {len(dataset.viewers):,} viewers, one device each, "
        f"{len(dataset.catalogue):,} titles, {len(dataset.interactions):,} things watched"
    )
    console.print_warnings(dataset.warnings)
    runs: list[tuple[str, Results]] = []
    prepared = prepare(_scenario(parts()[0], dataset.name), now=int(time.time()))
    for part in parts():
        scenario = _scenario(part, dataset.name)
        where = f"on Flower and Ray, {NODES} nodes" if part.engine == "flower" else "in this process"
        console.say(f"\n{part.name}: trainer {part.trainer}, {where}", "bold")
        console.say(console.budget_words(scenario.privacy), "dim")
        with console.progress() as observe:
            results = run(scenario, folder / part.name, observe=observe, baselines=part.baselines, prepared=prepared)
        runs.append((part.name, results))
    write_frontier(folder, runs)
    shelf = _print_findings(folder, runs, dataset)
    _audit(folder / SHOWN)
    seed = _scenario(parts()[0], dataset.name).seed
    show_opt_out(folder / SHOWN / "bundle", dataset, seed, folder / OPT_OUT, shelf.picks)
    console.say(f"\nreport: {folder / REPORT} ({duration(time.monotonic() - started)} in all)")


def _print_findings(folder: Path, runs: list[tuple[str, Results]], dataset: Dataset) -> Shelf:
    first = runs[0][1]
    console.print_warnings(text for _, results in runs for text in results.warnings)
    console.print_rows(
        f"{first.dataset}, split {first.split}: each viewer's held-out title among {first.titles:,} titles",
        [row for row in frontier_rows(runs) if row.protocol == "full"],
    )
    console.say(
        "Noise is seeded here: these releases are simulated and claim nothing in production. Each line is a run of "
        "its own; whoever sees two of them must count both.\n",
        "dim",
    )
    for name, results in runs:
        if name == SHOWN:
            console.say(f"{name}, full catalogue, from the devices themselves:")
            console.print_learned(results)
            console.say("")
    viewer = dataset.viewers[0]
    shelf = picks_for(folder / SHOWN, viewer, 10)
    print_shelf(shelf, f"viewer {viewer}")
    return shelf


def _audit(run: Path) -> None:
    """Check the run as a stranger would, then tamper with copies of its ledger."""
    report = verify(run, bytes.fromhex((run / "coordinator.pub").read_text()))
    passed = [check.topic.value for check in report.checks if check.state is State.PASSED]
    console.out.print(
        f"\n[bold]audit[/] of {run.name}, offline, with its public key: {report.entries} entries, "
        f"{len(report.findings)} findings; passed: {', '.join(passed)}",
        soft_wrap=True,
    )
    with tempfile.TemporaryDirectory(prefix="backrow-tamper-") as scratch:
        attempts = tamper_demo(run, Path(scratch), SigningKey(os.urandom(32)), SigningKey(os.urandom(32)))
    tried = [attempt for attempt in attempts if attempt.possible]
    caught = sorted({str(attempt.tampering.fault.label) for attempt in tried if attempt.caught})
    console.out.print(
        f"tampered with copies in {len(tried)} ways, {sum(attempt.caught for attempt in tried)} caught and named: "
        f"{', '.join(caught)}. See backrow audit tamper-demo {run}",
        soft_wrap=True,
    )


def _scenario(part: Part, data: str) -> Scenario:
    table: dict[str, Any] = {
        "nodes": NODES,
        "engine": part.engine,
        "trainer": part.trainer,
        "data": {"name": data},
        "privacy": {"epsilon": part.epsilon, "aggregation": "trusted"},
        "evaluation": {"protocols": ["full"], "baselines": ["popularity", "ease"]},
    }
    return make_scenario(table, "the demo")


def _largest(data: str | None) -> Dataset:
    if data is not None:
        return load(data)
    for name in PREFERRED[:-1]:
        try:
            return load(name)
        except DataError as reason:
            console.say(str(reason), "dim", console.err)
    return load(PREFERRED[-1])
