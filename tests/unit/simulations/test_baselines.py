from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sparse

from backrow.simulations.baselines.base import Baseline
from backrow.simulations.baselines.ease import Ease, RecentEase
from backrow.simulations.baselines.ials import ImplicitAls
from backrow.simulations.baselines.ordered import faded, sequences
from backrow.simulations.baselines.popularity import Popularity
from backrow.simulations.baselines.puresvd import PureSvd
from backrow.simulations.baselines.registry import ORDERED, BaselineName, fitted, make_baseline
from backrow.simulations.baselines.sasrec import SasRec
from backrow.simulations.baselines.transitions import Transitions
from backrow.simulations.datasets.dataset import Dataset
from backrow.simulations.datasets.registry import load
from backrow.simulations.metrics import evaluate
from backrow.simulations.splits import make_split
from tests.unit.simulations.small_data import dataset, two_tastes

TASTES = two_tastes()
SPLIT = make_split(TASTES, "last")
TRAIN = SPLIT.train.matrix(SPLIT.viewers, SPLIT.titles)
PLACES = SPLIT.train.places(SPLIT.viewers, SPLIT.titles)
ALL = np.arange(SPLIT.viewers, dtype=np.int32)
PERSONAL: dict[str, Callable[[], Baseline]] = {
    "PureSVD": lambda: PureSvd(2),
    "EASE": lambda: Ease(10.0),
    "iALS": lambda: ImplicitAls(factors=2, penalty=0.05),
}


def test_popularity_counts_viewers() -> None:
    scores = Popularity().fit(TRAIN).scores(ALL[:2])
    assert scores.tolist() == [TRAIN.toarray().sum(axis=0).tolist()] * 2


def test_ease_is_the_ridge_regression_of_each_title_on_all_others() -> None:
    weights = Ease(10.0).fit(TRAIN).scores(ALL)
    x = TRAIN.toarray()
    expected = np.zeros((SPLIT.titles, SPLIT.titles))
    for title in range(SPLIT.titles):
        others = np.delete(np.arange(SPLIT.titles), title)
        gram = x[:, others].T @ x[:, others] + 10.0 * np.eye(len(others))
        expected[others, title] = np.linalg.solve(gram, x[:, others].T @ x[:, title])
    np.testing.assert_allclose(weights, x @ expected, atol=1e-10)


def test_puresvd_projects_on_the_leading_right_singular_vectors() -> None:
    x = TRAIN.toarray()
    right = np.linalg.svd(x)[2][:5].T
    np.testing.assert_allclose(PureSvd(5).fit(TRAIN).scores(ALL), x @ right @ right.T, atol=1e-9)


def test_puresvd_lowers_its_factors_for_small_data() -> None:
    assert PureSvd(500).fit(TRAIN).scores(ALL).shape == TRAIN.shape


def test_ials_user_factors_are_a_minimum_of_the_stated_loss() -> None:
    unobserved, penalty, spread = 0.3, 0.05, 0.5
    model = ImplicitAls(3, unobserved, penalty, spread, sweeps=2).fit(TRAIN)
    x, u, v = TRAIN.toarray(), model._user_factors, model._item_factors
    weight = penalty * (x.sum(axis=1) + unobserved * SPLIT.titles) ** spread

    def loss(
        factors: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        scores = factors @ v.T
        fit = np.sum(x * (1 - scores) ** 2 + unobserved * scores**2, axis=1)
        return np.asarray(fit + weight * np.sum(factors**2, axis=1))

    step = np.random.default_rng(0).normal(size=u.shape)
    for size in (1e-3, 1e-1):
        assert np.all(loss(u + size * step) > loss(u))
        assert np.all(loss(u - size * step) > loss(u))


@pytest.mark.parametrize("name", PERSONAL)
def test_a_personal_baseline_tells_two_tastes_apart_where_popularity_cannot(name: str) -> None:
    own = evaluate(PERSONAL[name]().fit(TRAIN).scores, SPLIT)
    popular = evaluate(Popularity().fit(TRAIN).scores, SPLIT)
    assert own.hr > 0.9  # 7 unseen titles of one's own taste, and 10 places
    assert popular.hr < 0.75


@pytest.mark.parametrize("name", PERSONAL)
def test_the_same_data_gives_the_same_scores_bit_for_bit(name: str) -> None:
    first, second = (PERSONAL[name]().fit(TRAIN).scores(ALL) for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_starts_ials_elsewhere() -> None:
    first, second = (ImplicitAls(4, sweeps=1, seed=seed).fit(TRAIN).scores(ALL) for seed in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.parametrize("name", ["popularity", "puresvd", "ease", "ials"])
def test_a_viewer_without_history_gets_finite_scores(name: str) -> None:
    with_stranger = sparse.csr_array(sparse.vstack([TRAIN, sparse.csr_array((1, SPLIT.titles))]))
    scores = make_baseline(name).fit(with_stranger).scores(np.array([SPLIT.viewers], np.int32))  # type: ignore[arg-type]
    assert scores.shape == (1, SPLIT.titles)
    assert np.all(np.isfinite(scores))


@pytest.mark.parametrize(
    "make", [lambda: PureSvd(0), lambda: Ease(0.0), lambda: ImplicitAls(0), lambda: ImplicitAls(penalty=-1)]
)
def test_settings_that_cannot_be_are_refused(make: Callable[[], Baseline]) -> None:
    with pytest.raises(ValueError, match="needs"):
        make()


def test_every_personal_baseline_beats_popularity_on_the_real_100k(data_dir: Path) -> None:
    split = make_split(load("ml-100k", offline=True), "last")
    train = split.train.matrix(split.viewers, split.titles)
    found = {
        name: evaluate(make_baseline(name).fit(train).scores, split).hr for name in ("popularity", "puresvd", "ease")
    }
    assert found["popularity"] == pytest.approx(0.0859, abs=5e-5)
    assert min(found["puresvd"], found["ease"]) > 0.13


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "full", "ncf"), [("puresvd", 0.100, 0.68), ("ease", 0.109, 0.70), ("ials", 0.097, 0.70)]
)
def test_the_personal_baselines_reach_their_known_quality_on_the_real_1m(
    name: str, full: float, ncf: float, data_dir: Path
) -> None:
    split = make_split(load("ml-1m", offline=True), "ncf")
    baseline = make_baseline(name).fit(split.train.matrix(split.viewers, split.titles))  # type: ignore[arg-type]
    assert evaluate(baseline.scores, split, "full").hr >= full
    assert evaluate(baseline.scores, split, "ncf").hr >= ncf


def walks(viewers: int = 120, titles: int = 40) -> Dataset:
    """Everybody watches seven titles in a circle, each from another one on: who is next hangs on the last alone."""
    user, title = np.repeat(np.arange(viewers), 7), np.tile(np.arange(7), viewers)
    return dataset(user.tolist(), ((user + title) % titles).tolist(), title.tolist(), titles=titles)


ORDERLY: dict[str, Callable[[], Baseline]] = {
    "transitions": lambda: Transitions(penalty=1.0),
    "SASRec": lambda: SasRec(columns=16, window=8, batch=16, epochs=12, patience=12, step=0.01, dropout=0.0),
}


def test_places_count_from_the_title_watched_first() -> None:
    data = dataset([0, 1, 0, 0], [2, 1, 0, 1], [30, 5, 10, 20], titles=4)
    places = data.interactions.places(2, 4)
    assert places.toarray().tolist() == [[1, 2, 3, 0], [0, 1, 0, 0]]
    assert [history.tolist() for history in sequences(places)] == [[0, 1, 2], [1]]
    np.testing.assert_allclose(faded(places, 2.0).toarray()[0], [np.exp(-1), np.exp(-0.5), 1, 0])


def test_transitions_are_the_ridge_regression_of_the_next_title_on_those_before() -> None:
    model = Transitions(penalty=2.0, memory=1.5, window=3).fit(PLACES)
    contexts, following, now = [], [], []
    for history in sequences(PLACES):
        for place in range(1, len(history) + 1):
            row = np.zeros(SPLIT.titles)
            last = history[max(0, place - 3) : place][::-1]
            row[last] = np.exp(-np.arange(len(last)) / 1.5)
            row /= np.linalg.norm(row)
            if place < len(history):
                contexts.append(row)
                following.append(np.eye(SPLIT.titles)[history[place]])
        now.append(row)
    c, t = np.array(contexts), np.array(following)
    weights = np.linalg.solve(c.T @ c + 2.0 * np.eye(SPLIT.titles), c.T @ t)
    np.testing.assert_allclose(model.scores(ALL), np.array(now) @ weights, atol=1e-9)


def test_recent_ease_has_the_weights_of_ease_and_asks_about_what_was_watched_last() -> None:
    weights = np.linalg.lstsq(TRAIN.toarray(), Ease(10.0).fit(TRAIN).scores(ALL), rcond=None)[0]
    recent = RecentEase(10.0, memory=2.0).fit(PLACES).scores(ALL)
    np.testing.assert_allclose(recent, faded(PLACES, 2.0).toarray() @ weights, atol=1e-8)


@pytest.mark.parametrize("name", list(ORDERLY))
def test_a_baseline_of_order_finds_what_only_the_order_tells(name: str) -> None:
    split = make_split(walks(), "last")
    watched = split.train.matrix(split.viewers, split.titles)
    everybody = np.arange(split.viewers, dtype=np.int32)

    def found(scores: np.ndarray) -> float:
        return float(np.mean(np.where(watched.toarray() > 0, -np.inf, scores).argmax(axis=1) == split.test))

    ordered = ORDERLY[name]().fit(split.train.places(split.viewers, split.titles))
    assert found(ordered.scores(everybody)) == 1.0
    assert found(Ease(1.0).fit(watched).scores(everybody)) < 0.8


@pytest.mark.parametrize("name", list(ORDERLY))
def test_a_baseline_of_order_gives_the_same_bits_again_and_finite_scores_without_history(name: str) -> None:
    places = sparse.vstack([PLACES, sparse.csr_array((1, SPLIT.titles))], format="csr")
    everybody = np.arange(SPLIT.viewers + 1, dtype=np.int32)
    first, second = (ORDERLY[name]().fit(places).scores(everybody) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.all(np.isfinite(first))


def test_sasrec_leaves_torchs_own_random_stream_alone() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    SasRec(columns=4, epochs=1).fit(PLACES)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["popularity", *ORDERED])
def test_fitted_gives_the_order_to_those_that_use_it(name: BaselineName) -> None:
    split = make_split(dataset([0] * 4 + [1] * 4, [0, 1, 2, 3, 0, 2, 1, 3], [1, 2, 3, 4] * 2), "last")
    baseline = fitted(name, 1, split.train, split.viewers, split.titles)
    both = baseline.scores(np.arange(2, dtype=np.int32))  # the same titles in another order
    assert baseline.ordered == (name in ORDERED) == (not np.allclose(both[0], both[1]))
