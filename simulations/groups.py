"""Those who contribute and those who do not, and how well the same public model serves each. Ground truth.

Whoever contributes nothing still ranks on her own device, with her own history: that is what is measured.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from backrow.simulations.baselines.registry import make_baseline
from backrow.simulations.consents import Changes, Owners, consents_at
from backrow.simulations.evaluation import everybodys_popularity
from backrow.simulations.metrics import LIST, Scorer, evaluate, rates
from backrow.simulations.pipeline import Prepared, changes_of
from backrow.simulations.results import Group, GroupRow
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import Split

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


def groups_of(owners: Owners, seed: int, changes: Changes, rounds: int) -> dict[Group, BoolArray]:
    """Who belongs where; shape (devices,) each.

    Args:
        rounds: of the run, >= 1; who granted in one of them stayed, who granted in none left.
    """
    numbers = range(1, rounds + 1 if changes.flips else 2)
    stayed = np.any([consents_at(owners, seed, changes, number) for number in numbers], axis=0)
    return {"everyone": np.ones_like(stayed), "stayed": stayed, "left": ~stayed}


def served_groups(scenario: Scenario, prepared: Prepared, scorer: Scorer, rounds: int) -> tuple[GroupRow, ...]:
    """How well a run's model serves each group; nothing where everybody contributes.

    Args:
        scorer: the model, on each device.
        rounds: that there were.
    """
    groups = groups_of(prepared.population.owners, scenario.seed, changes_of(scenario), rounds)
    if groups["stayed"].all():
        return ()
    if prepared.sample is not None:
        groups = {name: members[prepared.sample] for name, members in groups.items()}
    return group_rows(groups, viewer_ranks(scorer, prepared.split), popularity_ranks(prepared))


def viewer_ranks(scorer: Scorer, split: Split) -> FloatArray:
    """Rank of each viewer's test title in the full catalogue, from 0; shape (viewers,), NaN without a test title."""
    ranks = np.full(split.viewers, np.nan)
    ranks[split.test >= 0] = evaluate(scorer, split).ranks
    return ranks


def popularity_ranks(prepared: Prepared) -> FloatArray:
    """The same for exact counts of everybody, those who contribute nothing included: popularity at its best."""
    split = prepared.split
    if prepared.sample is not None:
        return viewer_ranks(everybodys_popularity(prepared), split)
    popularity = make_baseline("popularity", 0)
    popularity.fit(split.train.matrix(split.viewers, split.titles))
    return viewer_ranks(popularity.scores, split)


def group_rows(groups: Mapping[Group, BoolArray], ranks: FloatArray, popular: FloatArray) -> tuple[GroupRow, ...]:
    """One row for each group in which somebody has a test title.

    Args:
        groups: as `groups_of` makes them.
        ranks, popular: of the model and of popularity, as `viewer_ranks` makes them.
    """
    rows = []
    for name, members in groups.items():
        asked = members & ~np.isnan(ranks)
        if asked.any():
            (hr, ndcg), (popular_hr, popular_ndcg) = rates(ranks[asked], LIST), rates(popular[asked], LIST)
            rows.append(
                GroupRow(
                    group=name,
                    devices=int(asked.sum()),
                    hr_at_10=hr,
                    ndcg_at_10=ndcg,
                    popular_hr_at_10=popular_hr,
                    popular_ndcg_at_10=popular_ndcg,
                )
            )
    return tuple(rows)
