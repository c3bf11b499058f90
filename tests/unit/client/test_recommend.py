"""Picks, and the reasons given for them."""

import logging

import numpy as np
import pytest

from backrow.client.events import EventKind, WatchEvent
from backrow.client.model import PublicModel
from backrow.client.recommend import POPULAR, TRENDING, recommend, trending_lift
from backrow.client.solve import user_factors
from backrow.client.weights import Preferences, confidence
from tests.unit.client.bundles import model

NOW = 1_000_000


def owner(model: PublicModel, *titles: str, skipped: tuple[str, ...] = ()) -> Preferences:
    events = [WatchEvent(EventKind.COMPLETE, 10 + at, title) for at, title in enumerate(titles)]
    events += [WatchEvent(EventKind.SKIP, 10, title, position=0.0) for title in skipped]
    return confidence(events, model.rows, NOW, 100)


def test_picks_are_the_best_scores_of_what_is_neither_watched_nor_disliked() -> None:
    public = model()
    preferences = owner(public, "t0", "t4", "t6", skipped=("t2",))
    history = preferences.history
    own = user_factors(public.item_factors, history.titles, history.weights, public.alpha0, public.ridge)
    scores = public.item_factors @ own
    scores[[0, 2, 4, 6]] = -np.inf
    picks = recommend(public, preferences, 8)
    assert [pick.title for pick in picks] == [public.ids[row] for row in np.argsort(-scores)[:8]]
    np.testing.assert_allclose([pick.score for pick in picks], np.sort(scores)[::-1][:8])
    assert all(pick.name == f"Title {pick.title[1:]}" for pick in picks)


def test_picks_follow_the_taste() -> None:
    public = model()
    even = recommend(public, owner(public, "t0", "t4", "t8"), 6)
    odd = recommend(public, owner(public, "t1", "t5", "t9"), 6)
    assert all(int(pick.title[1:]) % 2 == 0 for pick in even)
    assert all(int(pick.title[1:]) % 2 == 1 for pick in odd)


def test_the_reason_is_the_watched_title_with_the_largest_part_in_the_score() -> None:
    public = model()
    preferences = owner(public, "t0", "t4", "t9", "t13")
    history, base = preferences.history, public.alpha0
    seen = public.item_factors[history.titles]
    matrix = base * public.item_gram + seen.T @ (seen * history.weights[:, None]) + public.ridge * np.eye(4)
    for pick in recommend(public, preferences, 26):
        own = public.item_factors[public.rows[pick.title]]
        parts = own @ np.linalg.inv(matrix) @ (seen * (base + history.weights)[:, None]).T
        assert parts.sum() == pytest.approx(pick.score)
        best = int(parts.argmax())
        expected = f"because you watched Title {history.titles[best]}" if parts[best] > 0 else POPULAR
        assert pick.reason == expected


def test_a_heavier_title_explains_more() -> None:
    public = model(item_factors=np.tile([[0.6, 0.1, 0.0, 0.2]], (30, 1)))
    again = [WatchEvent(EventKind.REWATCH, 50 + n, "t7") for n in range(5)]
    events = [*(WatchEvent(EventKind.COMPLETE, n, title) for n, title in enumerate(["t1", "t7", "t9"])), *again]
    picks = recommend(public, confidence(events, public.rows, NOW, 100), 3)
    assert {pick.reason for pick in picks} == {"because you watched Title 7"}


def test_equal_scores_go_to_the_earlier_row_every_time() -> None:
    public = model(item_factors=np.ones((30, 4)), popularity=np.ones(30))
    for preferences in (owner(public), owner(public, "t3")):
        picks = [pick.title for pick in recommend(public, preferences, 5)]
        assert picks == [title for title in public.ids if title != "t3" or not preferences.watched][:5]
        assert picks == [pick.title for pick in recommend(public, preferences, 5)]


def test_an_empty_history_gets_what_is_popular() -> None:
    public = model()
    picks = recommend(public, owner(public), 4)
    assert [(pick.title, pick.reason) for pick in picks] == [(f"t{n}", POPULAR) for n in range(4)]
    assert picks[0].score == 1.0


def trending_model() -> PublicModel:
    recent = np.linspace(100, 1, 30) * 0.3
    recent[[20, 25]] += (60, 80)
    made: PublicModel = model(recent=recent)
    return made


def test_an_empty_history_gets_what_is_trending_too() -> None:
    picks = recommend(trending_model(), owner(model()), 7)
    assert [pick.reason for pick in picks] == [POPULAR, POPULAR, TRENDING, POPULAR, POPULAR, TRENDING, POPULAR]
    assert [pick.title for pick in picks] == ["t0", "t1", "t25", "t2", "t3", "t20", "t4"]


def test_without_any_trend_every_pick_is_popular() -> None:
    picks = recommend(model(recent=np.linspace(100, 1, 30) * 0.3), owner(model()), 30)
    assert [pick.title for pick in picks] == [f"t{n}" for n in range(30)]


def test_no_title_is_picked_twice() -> None:
    recent = np.zeros(30)
    recent[0] = 500  # the most popular title is trending, too
    for public in (trending_model(), model(recent=recent)):
        titles = [pick.title for pick in recommend(public, owner(public), 30)]
        assert sorted(titles) == sorted(public.ids)


def test_a_history_of_unknown_titles_counts_as_empty() -> None:
    public = model()
    preferences = owner(public, "elsewhere")
    assert preferences.watched == ("elsewhere",)
    assert recommend(public, preferences, 3) == recommend(public, owner(public), 3)


def test_disliked_titles_are_hidden_from_an_otherwise_empty_history() -> None:
    public = model()
    assert recommend(public, owner(public, skipped=("t0",)), 2)[0].title == "t1"


def test_fewer_picks_where_the_catalogue_has_no_more() -> None:
    public = model(3)
    assert len(recommend(public, owner(public), 10)) == 3
    assert len(recommend(public, owner(public, "t1"), 10)) == 2
    assert recommend(public, owner(public, "t0", "t1", "t2"), 10) == []


@pytest.mark.parametrize("count", [0, -1])
def test_asking_for_no_pick_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        recommend(model(), owner(model()), count)


# Trending


def test_noise_alone_is_no_trend() -> None:
    """3,700 titles, noise of sd 9: false-alarm probability 3,700 P(Z > 5) = .001.

    The control: the same counts with two planted trends must be called so, and only those.
    """
    random = np.random.default_rng(1)
    popularity = np.maximum(100 * random.pareto(1.2, 3700), 1)
    flat = np.maximum(popularity * 0.05 + 9 * random.normal(size=3700), 0)
    assert not trending_lift(popularity, flat).any()
    flat[[10, 3000]] += 120
    assert set(np.flatnonzero(trending_lift(popularity, flat))) == {10, 3000}


def test_one_device_is_no_trend_even_without_noise() -> None:
    popularity, recent = np.linspace(100, 1, 500), np.zeros(500)
    recent[400] = 1
    assert not trending_lift(popularity, recent).any()
    recent[400] = 20
    assert np.flatnonzero(trending_lift(popularity, recent)).tolist() == [400]


def test_small_counts_are_shrunk_more_than_large_ones() -> None:
    popularity = np.linspace(1000, 10, 200)
    recent = 0.1 * popularity
    recent[20], recent[180] = 4 * recent[20], 4 * recent[180]
    lift = trending_lift(popularity, recent)
    assert lift[20] > lift[180] >= 0


@pytest.mark.parametrize("titles", [1, 2])
def test_tiny_and_zero_counts_have_no_trend(titles: int) -> None:
    assert not trending_lift(np.zeros(titles), np.zeros(titles)).any()
    assert not trending_lift(-np.ones(titles), np.zeros(titles)).any()


def test_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        recommend(trending_model(), owner(model(), "t1"), 5)
    assert caplog.text == ""
