"""From events to confidence weights: one sentence of the rule per test."""

import logging
import math

import numpy as np
import pytest

from backrow.client.events import EventKind, WatchEvent
from backrow.client.weights import Preferences, confidence, plays_weight

ROWS = {"a": 3, "b": 0, "c": 7}
NOW, WINDOW = 1_000_000, 1000

PLAY, PAUSE, RESUME, STOP = EventKind.PLAY, EventKind.PAUSE, EventKind.RESUME, EventKind.STOP
COMPLETE, SKIP, REWATCH, RATE = EventKind.COMPLETE, EventKind.SKIP, EventKind.REWATCH, EventKind.RATE


def told(*events: tuple[EventKind, float | None], title: str = "a", start: int = 0) -> list[WatchEvent]:
    """Events of one title, a minute apart; the number is a position, or the stars of a rating."""
    return [
        WatchEvent(kind, start + 60 * step, title, rating=value)
        if kind is RATE
        else WatchEvent(kind, start + 60 * step, title, position=value)
        for step, (kind, value) in enumerate(events)
    ]


def fold(*events: WatchEvent) -> Preferences:
    return confidence(events, ROWS, NOW, WINDOW)


def weight(*events: tuple[EventKind, float | None]) -> float:
    history = fold(*told(*events)).history
    return float(history.weights[0]) if len(history) else 0.0


def test_a_plain_completed_watch_weighs_exactly_one() -> None:
    assert weight((COMPLETE, None)) == 1.0
    assert weight((PLAY, 0), (COMPLETE, None)) == 1.0
    assert weight((PLAY, 0), (PAUSE, 0.2), (RESUME, 0.2), (COMPLETE, None)) == 1.0


def test_data_that_only_knows_completions_gives_binary_weights_in_row_order() -> None:
    preferences = fold(*(WatchEvent(COMPLETE, at, title) for at, title in enumerate(["c", "a", "b"])))
    assert preferences.history.titles.tolist() == [0, 3, 7]
    assert preferences.history.weights.tolist() == [1.0, 1.0, 1.0]


def test_a_stopped_title_weighs_the_fraction_seen() -> None:
    assert weight((PLAY, 0), (STOP, 0.6)) == 0.6
    assert weight((PLAY, 0.5), (STOP, 0.6), (PLAY, 0.1), (STOP, 0.2)) == 0.6
    assert weight((PLAY, 0), (STOP, 0.01)) == 0.1


def test_stopping_in_the_credits_is_finishing() -> None:
    assert weight((PLAY, 0), (STOP, 0.93)) == 1.0


def test_a_pause_is_not_abandonment() -> None:
    assert weight((PLAY, 0), (PAUSE, 0.2)) == 0.5
    assert weight((PLAY, 0), (PAUSE, 0.7)) == 0.7
    assert weight((PLAY, 0), (STOP, 0.2)) < weight((PLAY, 0), (PAUSE, 0.2))
    assert weight((PLAY, 0), (PAUSE, 0.2)) == weight((PLAY, 0), (PAUSE, 0.2), (RESUME, 0.2))


def test_watching_again_counts_with_the_logarithm() -> None:
    assert weight((COMPLETE, None), (REWATCH, None)) == pytest.approx(1 + math.log(2))
    assert weight((COMPLETE, None), *[(REWATCH, None)] * 3) == pytest.approx(1 + math.log(4))


def test_one_viewing_told_as_rewatch_and_completion_counts_once() -> None:
    assert weight((COMPLETE, None), (REWATCH, None), (COMPLETE, None)) == pytest.approx(1 + math.log(2))


def test_an_early_skip_is_a_dislike() -> None:
    for position in (None, 0.0, 0.05):
        preferences = fold(*told((PLAY, 0), (SKIP, position)))
        assert preferences.disliked == {"a"}
        assert len(preferences.history) == 0


def test_a_title_that_was_only_skipped_is_not_listed_as_watched() -> None:
    assert fold(*told((SKIP, 0.01))).watched == ()


def test_completing_after_a_skip_takes_it_back() -> None:
    preferences = fold(*told((SKIP, 0.01), (PLAY, 0), (COMPLETE, None)))
    assert preferences.disliked == frozenset()
    assert preferences.history.weights.tolist() == [1.0]
    assert fold(*told((SKIP, 0.01), (PLAY, 0), (STOP, 0.95))).disliked == frozenset()


def test_playing_a_little_after_a_skip_does_not_take_it_back() -> None:
    assert fold(*told((SKIP, 0.01), (PLAY, 0), (STOP, 0.3))).disliked == {"a"}


def test_completing_before_a_skip_does_not_take_it_back() -> None:
    assert fold(*told((COMPLETE, None), (SKIP, 0.01))).disliked == {"a"}


def test_a_late_skip_halves_the_weight() -> None:
    assert weight((PLAY, 0), (SKIP, 0.6)) == 0.3
    assert weight((PLAY, 0), (STOP, 0.6)) == 0.6


def test_skipping_the_credits_is_finishing() -> None:
    assert weight((PLAY, 0), (SKIP, 0.95)) == 1.0


@pytest.mark.parametrize(("stars", "factor"), [(5, 1.5), (4, 1.25), (3, 1.0), (2.5, 0.875)])
def test_a_rating_scales_the_weight(stars: float, factor: float) -> None:
    assert weight((COMPLETE, None), (RATE, stars)) == factor


@pytest.mark.parametrize("stars", [0.5, 1, 2])
def test_a_low_rating_is_a_dislike_whatever_was_seen(stars: float) -> None:
    preferences = fold(*told((COMPLETE, None), (REWATCH, None), (RATE, stars)))
    assert preferences.disliked == {"a"}
    assert preferences.watched == ("a",)
    assert len(preferences.history) == 0


def test_the_last_rating_counts() -> None:
    assert weight((RATE, 1), (COMPLETE, None), (RATE, 4)) == 1.25
    assert fold(*told((RATE, 5), (RATE, 1))).disliked == {"a"}


def test_a_rating_alone_counts_as_seen() -> None:
    assert weight((RATE, 3)) == 1.0
    assert weight((PLAY, 0), (STOP, 0.3), (RATE, 3)) == 0.3


def test_events_are_read_in_the_order_of_their_times() -> None:
    skip, complete = WatchEvent(SKIP, 10, "a", position=0.0), WatchEvent(COMPLETE, 20, "a")
    assert fold(skip, complete).disliked == fold(complete, skip).disliked == frozenset()


def test_at_the_same_second_the_order_of_recording_counts() -> None:
    skip, complete = WatchEvent(SKIP, 10, "a", position=0.0), WatchEvent(COMPLETE, 10, "a")
    assert fold(skip, complete).disliked == frozenset()
    assert fold(complete, skip).disliked == {"a"}


def test_titles_the_model_does_not_know_are_watched_but_not_trained_on() -> None:
    preferences = fold(*told((COMPLETE, None), title="elsewhere"), *told((COMPLETE, None), title="b", start=500))
    assert preferences.watched == ("b", "elsewhere")
    assert preferences.history.titles.tolist() == [0]


def test_an_unknown_title_can_be_disliked() -> None:
    assert fold(*told((RATE, 1), title="elsewhere")).disliked == {"elsewhere"}


def test_watched_titles_are_listed_last_touched_first() -> None:
    events = [WatchEvent(COMPLETE, at, title) for at, title in ((5, "a"), (9, "b"), (7, "c"), (11, "a"))]
    assert fold(*events).watched == ("a", "b", "c")


def test_titles_touched_within_the_window_are_recent() -> None:
    times = {"b": NOW - WINDOW - 1, "a": NOW - WINDOW, "c": NOW}
    preferences = fold(*(WatchEvent(COMPLETE, at, title) for title, at in times.items()))
    assert preferences.history.recent.tolist() == [False, True, True]


def test_a_clock_set_back_makes_titles_recent_and_nothing_worse() -> None:
    assert fold(WatchEvent(COMPLETE, NOW + 10**6, "a")).history.recent.tolist() == [True]


def test_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        confidence([], ROWS, NOW, -1)


def test_searches_and_an_empty_history_have_no_weight() -> None:
    preferences = fold(WatchEvent(EventKind.SEARCH, 5, query="words"))
    assert (len(preferences.history), preferences.watched, preferences.disliked) == (0, (), frozenset())
    assert preferences.history.titles.dtype == np.int32


def test_preferences_cannot_be_printed_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        preferences = fold(*told((COMPLETE, None), title="secret-title"))
    assert "secret-title" not in repr(preferences) + str(preferences) + caplog.text


# A public time


SINCE = 10_000


def as_of_then(*events: WatchEvent) -> Preferences:
    return confidence(events, ROWS, NOW, WINDOW, SINCE)


def test_what_happened_from_the_public_time_on_is_in_no_weight() -> None:
    before, after = told((PLAY, 0), (STOP, 0.4)), told((COMPLETE, None), (RATE, 5.0), start=SINCE)
    then, alone = as_of_then(*before, *after), fold(*before)
    assert then.history.weights.tolist() == alone.history.weights.tolist() == [0.4]
    assert then.watched == alone.watched
    assert fold(*before, *after).history.weights.tolist() != [0.4]  # the control: without that time it counts


def test_recent_is_counted_back_from_the_public_time() -> None:
    events = [WatchEvent(COMPLETE, SINCE - WINDOW - 1, "a"), WatchEvent(COMPLETE, SINCE - 1, "c")]
    assert as_of_then(*events).history.recent.tolist() == [False, True]
    assert fold(*events).history.recent.tolist() == [False, False]
    ahead = confidence(events, ROWS, SINCE, WINDOW, NOW)  # a time that has not come changes nothing
    assert ahead.history.recent.tolist() == [False, True]
    assert ahead.history.fresh is None


def test_the_fresh_title_is_the_first_one_begun_since_then_that_was_unknown() -> None:
    known = WatchEvent(COMPLETE, 5, "b")
    later = [
        *told((COMPLETE, None), title="b", start=SINCE),
        *told((COMPLETE, None), title="elsewhere", start=SINCE + 1),
        *told((PLAY, 0), title="c", start=SINCE + 2),
        *told((COMPLETE, None), title="a", start=SINCE + 3),
    ]
    assert as_of_then(known, *later).history.fresh == ROWS["c"]
    assert as_of_then(known, *reversed(later)).history.fresh == ROWS["c"]
    assert fold(known, *later).history.fresh is None
    assert as_of_then(known, *told((COMPLETE, None), title="c", start=SINCE - 1)).history.fresh is None


def test_a_title_begun_at_the_public_time_is_fresh_and_one_touched_a_second_before_is_not() -> None:
    assert as_of_then(WatchEvent(COMPLETE, SINCE, "a")).history.fresh == ROWS["a"]
    skipped = WatchEvent(SKIP, SINCE - 1, "a", position=0.05)
    assert as_of_then(skipped, WatchEvent(COMPLETE, SINCE, "a")).history.fresh is None


def test_what_was_disliked_afterwards_is_no_fresh_title() -> None:
    tried = told((PLAY, 0), (SKIP, 0.05), title="a", start=SINCE)
    assert as_of_then(*tried).history.fresh is None
    assert as_of_then(*tried, *told((COMPLETE, None), title="c", start=SINCE + 900)).history.fresh == ROWS["c"]


def test_titles_that_are_known_and_do_not_count_are_passed() -> None:
    events = [*told((PLAY, 0), (SKIP, 0.05), title="c"), *told((COMPLETE, None), title="a")]
    for preferences in (fold(*events), as_of_then(*events)):
        assert preferences.history.titles.tolist() == [ROWS["a"]]
        assert preferences.history.passed.tolist() == [ROWS["c"]]


@pytest.mark.parametrize("plays", [1, 2, 7, 40])
def test_a_count_of_plays_weighs_as_much_as_that_many_completions(plays: int) -> None:
    done = [WatchEvent(EventKind.COMPLETE, at, "a") for at in range(plays)]
    made = confidence(done, {"a": 0}, plays, 10).history.weights
    np.testing.assert_allclose(plays_weight(np.array([plays])), made)


def test_a_title_that_was_never_played_has_no_weight_to_ask_for() -> None:
    with pytest.raises(ValueError, match="at least once"):
        plays_weight(np.array([1, 0]))
