"""A million devices: wall time of every stage, memory of all processes, and how memory grows with the cohort.

.venv/bin/python benchmarks/million.py          # some ten minutes, drawing apart; writes the page
.venv/bin/python benchmarks/million.py --quick  # 2,000 and 4,000 devices, printed only

Each run is a process of its own (with Ray: and its children), watched from outside: the sum over its processes of the
proportional set size, so that a page that two of them share counts once. Mapped histories are told apart from the
processes' own memory.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from machine import processor

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
RESULTS, EXAMPLE = ROOT / "benchmarks" / "results", ROOT / "examples" / "million.toml"
COMMAND = "python benchmarks/million.py"
EVERY = 0.2
"""Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Case:
    """One run."""

    devices: int
    engine: str = "inprocess"
    nodes: int = 2
    workers: int = 2
    evaluate: bool = False
    extra: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        return [
            f"generated.devices={self.devices}",
            f"privacy.delta={0.1 / self.devices}",
            f"engine={self.engine}",
            f"nodes={self.nodes}",
            f"cohort.workers={self.workers}",
            *self.extra,
        ]


@dataclass
class Measured:
    """What was seen of one run; memory in bytes."""

    said: dict[str, Any]
    whole: int = 0
    private: int = 0
    mapped: int = 0


def child(case: Case) -> None:
    """Runs one case and prints what it took as JSON."""
    from backrow.server.registry import write_bundle
    from backrow.server.strategy import Outcome, RoundReport
    from backrow.simulations import telemetry
    from backrow.simulations.evaluation import everybodys_popularity, model_scorer
    from backrow.simulations.metrics import evaluate
    from backrow.simulations.pipeline import changes_of, commit, prepare
    from backrow.simulations.scenario_file import load_scenario
    from backrow.simulations.training import coordinator_key, train

    telemetry.switch_off()
    scenario = load_scenario(EXAMPLE, case.overrides())
    began = time.monotonic()
    prepared = prepare(scenario)
    opened, cpu = time.monotonic(), time.process_time()
    committed = commit(scenario, prepared)
    rounds: list[dict[str, Any]] = []

    def observe(report: RoundReport) -> None:
        query, taken = report.plan.query.query.value, report.seconds
        rounds.append({"query": query, "seconds": taken, "devices": report.participants, "outcome": report.outcome})

    with tempfile.TemporaryDirectory(prefix="backrow-million-") as folder:
        key = coordinator_key(scenario.seed)
        records = prepared.dataset.catalogue.records()

        def publish(outcome: Outcome, spent: Any) -> tuple[bytes, bytes]:
            return write_bundle(Path(folder) / "bundle", outcome.program.model(), records, outcome.releases, spent, key)

        trained = train(
            committed, prepared.population, Path(folder),
            engine=scenario.engine, nodes=scenario.nodes, seed=scenario.seed, changes=changes_of(scenario),
            workers=scenario.cohort.workers, observe=observe, publish=publish,
        )  # fmt: skip
        trained_at = time.monotonic()
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        ledger = (Path(folder) / "ledger.jsonl").stat().st_size
        said: dict[str, Any] = {
            "open": opened - began,
            "train": trained_at - opened,
            "cpu": time.process_time() - cpu,
            "rounds": rounds,
            "events": len(prepared.population.titles),
            "digests": [release.receipt.digest for release in trained.outcome.releases],
            "epsilon": trained.spent.epsilon,
            "problems": trained.problems,
            "folder": size,
            "ledger": ledger,
        }
        print(json.dumps({"trained": said}), flush=True)
        if case.evaluate:
            from backrow.client.model import PublicModel
            from backrow.privacy.bundle import open_bundle

            model = PublicModel.from_bundle(open_bundle(Path(folder) / "bundle", key.public))
            ours = evaluate(model_scorer(model, prepared.population, prepared.sample), prepared.split)
            popular = evaluate(everybodys_popularity(prepared), prepared.split)
            quality = {"ours": [ours.hr, ours.ndcg], "popularity": [popular.hr, popular.ndcg], "asked": len(ours.ranks)}
            print(json.dumps({"quality": {**quality, "seconds": time.monotonic() - trained_at}}), flush=True)


def measured(case: Case) -> Measured:
    """Run a case in a process of its own and watch it until its training is done."""
    told = json.dumps({**case.__dict__})
    seen = Measured({})
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as output:
        process = subprocess.Popen([sys.executable, __file__, "--child", told], stdout=output, cwd=ROOT)
        while process.poll() is None:
            if not Path(output.name).stat().st_size:  # until its training is done
                private, mapped = _memory(process.pid)
                seen.whole = max(seen.whole, private + mapped)
                seen.private, seen.mapped = max(seen.private, private), max(seen.mapped, mapped)
            time.sleep(EVERY)
        if process.returncode:
            raise RuntimeError(f"{case} failed with {process.returncode}")
        output.seek(0)
        for line in output:
            seen.said |= json.loads(line)
    return seen


def _memory(root: int) -> tuple[int, int]:
    """Proportional set size of a process and all its descendants: their own, and mapped files."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    private = mapped = 0
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:] if line.endswith("kB")}
        mapped += fields.get("Pss_File", 0)
        private += fields.get("Pss", 0) - fields.get("Pss_File", 0)
    return private, mapped


def page(million: Measured, grown: list[tuple[Case, Measured]], spread: list[tuple[Case, Measured]]) -> str:
    """benchmarks/results/million.md."""
    said, quality = million.said["trained"], million.said["quality"]
    stages = "\n".join(
        f"| round {number}, {each['query']}: {each['devices']:,} devices, {each['outcome']} | {each['seconds']:.1f} |"
        for number, each in enumerate(said["rounds"], start=1)
    )
    growth = "\n".join(
        f"| {case.devices:,} | {run.said['trained']['train']:.1f} | {run.private / 2**20:,.0f} | "
        f"{(run.private - grown[0][1].private) / max(case.devices - grown[0][0].devices, 1):,.0f} | "
        f"{run.mapped / 2**20:,.0f} | {_state(run) / 2**20:,.0f} | {run.whole / 2**20:,.0f} |"
        for case, run in grown
    )
    spread = [*spread[:-1], grown[-1], spread[-1]]
    hosted = {case.devices for case, _ in spread}
    same = {(case.devices, *run.said["trained"]["digests"]) for case, run in spread}
    flower = "\n".join(
        f"| {case.devices:,} | {case.engine} | {case.nodes} | {run.said['trained']['train']:.1f} | "
        f"{sum(each['seconds'] for each in run.said['trained']['rounds']):.1f} | {run.private / 2**20:,.0f} | "
        f"{run.whole / 2**20:,.0f} |"
        for case, run in spread
    )
    ours, popular = quality["ours"], quality["popularity"]
    return f"""# A million devices

`{COMMAND}` on {processor()}, {os.cpu_count()} cores shared with other work (load
{os.getloadavg()[0]:.1f} at the end), Python {platform.python_version()}, numpy {version("numpy")}, {_numba()}.
`examples/million.toml`: {grown[-1][0].devices:,} devices, {said["events"]:,} watched titles, 20,000 titles, subspace
training in 32 factors, epsilon {said["epsilon"]:.3f}, {len(said["digests"])} releases, every one accounted, in the
ledger, its cohort and opt-outs checked and committed to. Nobody in the population exists; drawing it is apart, and
so is numba's compilation, once for each installation.

| stage | wall s |
|---|---|
| open: check the files' SHA-256, draw owners and the sample | {said["open"]:.1f} |
{stages}
| **full private training**: schedule, ledger, {len(said["rounds"])} rounds, bundle | **{said["train"]:.1f}** |
| processor seconds of it, all threads | {said["cpu"]:.1f} |
| measuring on {quality["asked"]:,} devices: every title ranked | {quality["seconds"]:.1f} |

Memory of all processes, at most: **{million.whole / 2**30:.2f} GiB**, of it {million.private / 2**20:,.0f} MiB their
own; the rest are mapped histories, which the system may drop. The run folder takes
{said["folder"] / 2**20:.0f} MiB, its ledger {said["ledger"] / 2**10:.0f} KiB.

Quality on the sample, full catalogue (the simulator's ground truth): HR@10 / NDCG@10 {ours[0]:.4f} / {ours[1]:.4f},
popularity by exact counts {popular[0]:.4f} / {popular[1]:.4f}: {ours[0] / popular[0]:.2f} times the hits.

## Memory and the cohort

Two workers in one process, everybody invited in every round, MiB at most. *own*: the process' anonymous memory; *per
device*: what it grew by, over the smallest cohort, in bytes (its pseudonym in the coordinator's lists, and its keyed
hash while the ledger commits to the cohort). *user state*: the histories on disk; *mapped*: files in memory, libraries
included.

| devices | training s | own | per device, bytes | mapped | user state | all |
|---|---|---|---|---|---|---|
{growth}

No answer of a device outlives its block, whatever the cohort: sums are {_sums()} MiB for each worker.

## Several nodes

`flower` is Flower's simulation on Ray, a process for each node, {os.cpu_count()} at a time; training includes its
start. In this process two nodes have two workers each, a single one has one. The releases of the same devices are
{"the same bits" if len(same) == len(hosted) else "NOT the same"} on either engine and on however many nodes.

| devices | engine | nodes | training s | of it rounds s | own MiB | all MiB |
|---|---|---|---|---|---|---|
{flower}
"""


def _state(run: Measured) -> int:
    """Histories, bytes: a title, and whether it is recent."""
    return int(run.said["trained"]["events"]) * 5


def _sums() -> str:
    return f"{(20_000 + 128) * 32 * 8 / 2**20:.0f}"


def _numba() -> str:
    try:
        return f"numba {version('numba')}"
    except ImportError:
        return "without numba"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="small populations, printed only")
    arguments.add_argument("--child", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.child:
        read = json.loads(chosen.child)
        child(Case(**{**read, "extra": tuple(read["extra"])}))
        return
    sizes, hosted = ([2_000, 4_000], 4_000) if chosen.quick else ([10_000, 100_000, 1_000_000], 100_000)
    small = ("generated.titles=2000", "evaluation.sample=500") if chosen.quick else ()
    for size in sizes:  # drawn beforehand: not part of any figure
        drawn = time.monotonic()
        _draw(Case(size, extra=small))
        print(f"{size:,} devices drawn or found in {time.monotonic() - drawn:.0f} s", flush=True)
    measured(Case(sizes[0], extra=small))  # numba compiles once for each installation
    grown = []
    for size in sizes:
        case = Case(size, evaluate=size == sizes[-1], extra=small)
        grown.append((case, measured(case)))
        print(case, grown[-1][1], flush=True)
    spread = [(case := Case(hosted, nodes=1, workers=1, extra=small), measured(case))]
    for devices, nodes in ((hosted, 1), (hosted, 2), (hosted, 4), (sizes[-1], 2)):
        case = Case(devices, "flower", nodes, 1, extra=small)
        spread.append((case, measured(case)))
        print(case, spread[-1][1], flush=True)
    written = page(grown[-1][1], grown, spread)
    if not chosen.quick:
        (RESULTS / "million.md").write_text(written, encoding="utf-8")
    print(written)


def _draw(case: Case) -> None:
    from backrow.simulations.generated import files_of
    from backrow.simulations.scenario_file import load_scenario

    files_of(load_scenario(EXAMPLE, case.overrides()).generated.recipe(), os.cpu_count() or 1, lambda share: None)


if __name__ == "__main__":
    main()
