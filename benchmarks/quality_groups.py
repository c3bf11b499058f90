"""Whom the models serve and what they show: popularity groups, tails, short histories. Validation titles only.

    .venv/bin/python benchmarks/quality_groups.py     # writes benchmarks/results/quality-groups-ml-1m.{json,md}

The groups look at one model many times over, so they are never asked of test titles.
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from backrow.simulations.baselines.registry import fitted
from backrow.simulations.evaluation import model_scorer
from backrow.simulations.groups import viewer_ranks
from backrow.simulations.metrics import BLOCK, LIST, Scorer, rates
from backrow.simulations.pipeline import Prepared, commit, prepare
from backrow.simulations.progress import ignore
from backrow.simulations.runner import finish_model
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import Split

RESULTS = Path(__file__).parent / "results"
THIRDS = ("head", "middle", "tail")
"""Titles by how often they were watched, most first: each group has a third of everything watched."""
SHORTEST = 0.2
"""Share of viewers who count as having short histories."""
CONSOLE = Console(stderr=True)

BoolArray = NDArray[np.bool_]


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--epsilons", nargs="+", default=["1", "3", "8"])
    parser.add_argument("--trainers", nargs="+", default=["sequence", "gradient", "prior"])
    parser.add_argument("--baselines", nargs="*", default=["popularity", "ease", "ials"])
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    prepared = prepare(scenario(options, "prior", "1"))
    groups, third = groups_of(prepared.split)
    table = []
    for trainer in options.trainers:
        for epsilon in options.epsilons:
            scorer = trained(scenario(options, trainer, epsilon), prepared)
            table.append(line(f"backrow ({trainer})", float(epsilon), scorer, prepared.split, groups, third))
            CONSOLE.print(table[-1])
    for name in options.baselines:
        split = prepared.split
        baseline = fitted(name, options.seed, split.train, split.viewers, split.titles)
        table.append(line(name, None, baseline.scores, prepared.split, groups, third))
    write(options, prepared, groups, third, table)


def scenario(options: argparse.Namespace, trainer: str, epsilon: str) -> Scenario:
    """One configuration, on validation titles."""
    return Scenario.model_validate(
        {
            "seed": options.seed,
            "trainer": trainer,
            "data": {"name": options.data},
            "privacy": {"epsilon": float(epsilon), "aggregation": "trusted"},
            "model": {"evaluation_share": 0.0},
            "evaluation": {"tuning": True, "protocols": ["full"]},
        }
    )


def trained(made: Scenario, prepared: Prepared) -> Scorer:
    """The model of a run in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        model = finish_model(made, prepared, commit(made, prepared), Path(folder), ignore, model="backrow").public
    return model_scorer(model, prepared.population)


def groups_of(split: Split) -> tuple[dict[str, BoolArray], NDArray[np.int64]]:
    """Viewers by the popularity of the title that is asked about and by length of history; and titles' thirds.

    Returns:
        masks of viewers, shape (viewers,), and for each title the index of its third, shape (titles,).
    """
    counts = np.bincount(split.train.title, minlength=split.titles)
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    third = np.empty(split.titles, dtype=np.int64)
    third[order] = np.minimum(3 * before // max(int(counts.sum()), 1), 2)
    asked = split.test >= 0
    groups = {"everyone": asked}
    for index, name in enumerate(THIRDS):
        groups[f"{name} titles"] = asked & (third[np.maximum(split.test, 0)] == index)
    lengths = np.bincount(split.train.user, minlength=split.viewers)
    short = lengths <= np.quantile(lengths[asked], SHORTEST)
    long = lengths > np.quantile(lengths[asked], 1 - SHORTEST)
    return {**groups, "short histories": asked & short, "long histories": asked & long}, third


def line(
    name: str,
    epsilon: float | None,
    scorer: Scorer,
    split: Split,
    groups: dict[str, BoolArray],
    third: NDArray[np.int64],
) -> dict[str, object]:
    """HR@10 and NDCG@10 of each group over the full catalogue; what the lists of ten show of each third."""
    ranks, shown = viewer_ranks(scorer, split), shown_of(scorer, split)
    entry: dict[str, object] = {"model": name, "epsilon": epsilon}
    for group, members in groups.items():
        hr, ndcg = rates(ranks[members], LIST)
        entry[group] = {"hr_at_10": round(float(hr), 4), "ndcg_at_10": round(float(ndcg), 4)}
    for index, third_name in enumerate(THIRDS):
        mine = shown[third == index]
        entry[f"{third_name} shown"] = {
            "coverage_at_10": round(float((mine > 0).mean()), 4),
            "share_of_lists": round(float(mine.sum() / shown.sum()), 4),
        }
    return entry


def shown_of(scorer: Scorer, split: Split) -> NDArray[np.int64]:
    """In how many viewers' first ten each title stands, shape (titles,)."""
    watched = split.train.matrix(split.viewers, split.titles)
    shown = np.zeros(split.titles, dtype=np.int64)
    for start in range(0, split.viewers, BLOCK):
        viewers = np.arange(start, min(start + BLOCK, split.viewers), dtype=np.int32)
        scores = np.array(scorer(viewers), dtype=np.float64)
        part = watched[viewers].tocoo()
        scores[part.row, part.col] = -np.inf
        shown += np.bincount(np.argpartition(-scores, LIST - 1, axis=1)[:, :LIST].ravel(), minlength=split.titles)
    return shown


def write(
    options: argparse.Namespace,
    prepared: Prepared,
    groups: dict[str, BoolArray],
    third: NDArray[np.int64],
    table: list[dict[str, object]],
) -> None:
    """benchmarks/results/quality-groups-DATA.{json,md}."""
    command = (
        f"python benchmarks/quality_groups.py --data {options.data} --epsilons {' '.join(options.epsilons)} "
        f"--trainers {' '.join(options.trainers)} --baselines {' '.join(options.baselines)} --seed {options.seed}"
    )
    record = {
        "command": command, "data_sha256": prepared.dataset.fingerprint,
        "viewers": {name: int(members.sum()) for name, members in groups.items()},
        "titles": {name: int((third == index).sum()) for index, name in enumerate(THIRDS)}, "rows": table,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"quality-groups-{options.data}"
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    titles = ", ".join(f"{name} {int((third == index).sum()):,}" for index, name in enumerate(THIRDS))
    lengths = np.bincount(prepared.split.train.user, minlength=prepared.split.viewers)
    text = [
        "# Quality by group", "", f"`{command}` on {platform.machine()}, Python {platform.python_version()}", "",
        f"{prepared.dataset.name}, **validation** titles, full catalogue, HR@10 / NDCG@10, one seed; delta 1e-5, unit "
        f"device, adjacency zero-out, every release counted. Titles: {titles}; each group has a third of everything "
        f"watched. Short and long: the fifth of viewers with the fewest titles (at most "
        f"{lengths[groups['short histories']].max()}) and the most "
        f"(at least {lengths[groups['long histories']].min()}).",
        "", *_table([*groups], groups, table), "",
        "Share of the lists of ten / share of the group's titles that some list shows:", "", *_shown(table),
    ]  # fmt: skip
    path.with_suffix(".md").write_text("\n".join(text) + "\n", encoding="utf-8")


def _table(names: list[str], groups: dict[str, BoolArray], table: list[dict[str, object]]) -> list[str]:
    head = " | ".join(f"{name} ({int(groups[name].sum()):,})" for name in names)
    lines = [f"| model | epsilon | {head} |", "|---" * (len(names) + 2) + "|"]
    for entry in table:
        cells = [entry[name] for name in names]
        told = " | ".join(f"{c['hr_at_10']:.4f} / {c['ndcg_at_10']:.4f}" for c in cells if isinstance(c, dict))
        lines.append(f"| {entry['model']} | {_epsilon(entry)} | {told} |")
    return lines


def _shown(table: list[dict[str, object]]) -> list[str]:
    lines = ["| model | epsilon | head | middle | tail |", "|---|---|---|---|---|"]
    for entry in table:
        cells = [entry[f"{name} shown"] for name in THIRDS]
        told = " | ".join(
            f"{c['share_of_lists']:.3f} / {c['coverage_at_10']:.3f}" for c in cells if isinstance(c, dict)
        )
        lines.append(f"| {entry['model']} | {_epsilon(entry)} | {told} |")
    return lines


def _epsilon(entry: dict[str, object]) -> str:
    return "none" if entry["epsilon"] is None else f"{entry['epsilon']:g}"


if __name__ == "__main__":
    main()
