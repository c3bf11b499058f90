from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backrow.client.events import DeviceKind, EventKind, WatchEvent
from backrow.simulations.datasets.catalogue import Catalogue, without_metadata
from backrow.simulations.datasets.dataset import Interactions
from backrow.simulations.datasets.registry import load
from backrow.simulations.event_generator import DAY, DEVICES, HOUR, generate

DECEMBER_2000 = 976_000_000


def history(titles: int, stars: float | None = 4.0, *, apart: int = DAY, viewer: int = 0) -> Interactions:
    """One viewer's titles in reverse file order, `apart` seconds from each other."""
    rows = np.arange(titles)
    return Interactions(
        np.full(titles, viewer, np.int32),
        rows.astype(np.int32),
        DECEMBER_2000 - apart * rows,
        None if stars is None else np.full(titles, stars, np.float32),
    )


def events_of(rows: Interactions, seed: int = 1, viewer: str = "ann") -> list[WatchEvent]:
    ids = [f"title {row}" for row in range(len(rows))]
    names = tuple(f"Some Long Name {row} (1999)" for row in range(len(rows)))
    catalogue = Catalogue(tuple(ids), names, ((),) * len(ids), (1999,) * len(ids))
    return generate(rows, np.arange(len(rows)), catalogue, seed, viewer)


def of_kind(events: list[WatchEvent], kind: EventKind) -> list[WatchEvent]:
    return [event for event in events if event.kind is kind]


MANY = events_of(history(1_500))


def test_the_same_viewer_and_seed_give_the_same_events_and_others_others() -> None:
    assert events_of(history(30)) == events_of(history(30))
    assert events_of(history(30)) != events_of(history(30), seed=2)
    assert events_of(history(30)) != events_of(history(30), viewer="bob")


def test_a_viewers_events_do_not_depend_on_who_else_is_there_or_on_the_order_of_rows() -> None:
    alone, other = history(20), history(20, stars=1.0, viewer=1)
    together = Interactions(
        np.concatenate([other.user, alone.user]),
        np.concatenate([other.title, alone.title]),
        np.concatenate([other.timestamp, alone.timestamp]),
        np.full(40, 4.0, np.float32),
    )
    catalogue = without_metadata([f"title {row}" for row in range(20)])
    mine = np.random.default_rng(0).permutation(np.arange(20, 40))
    assert generate(together, mine, catalogue, 1, "ann") == generate(alone, np.arange(20), catalogue, 1, "ann")


def test_events_come_in_order_of_time_and_every_title_is_played_once() -> None:
    times = [event.at for event in MANY]
    assert times == sorted(times)
    assert Counter(event.title for event in of_kind(MANY, EventKind.PLAY)) == {
        f"title {row}": 1 for row in range(1_500)
    }


def test_every_kind_of_event_and_device_occurs() -> None:
    mixed = MANY + events_of(history(200, stars=1.0))
    assert {event.kind for event in mixed} == set(EventKind)
    assert {event.device for event in mixed} == set(DeviceKind)


def test_no_history_gives_no_events() -> None:
    assert generate(history(3), np.zeros(0, np.intp), without_metadata(["a", "b", "c"]), 1, "ann") == []


def test_what_is_liked_is_completed_and_what_is_not_is_skipped_or_stopped() -> None:
    liked, disliked = events_of(history(1_500, 5.0)), events_of(history(1_500, 1.0))
    # Expected .93 + .06 * .3 and .30 + .35 * .3; the bounds are more than six standard deviations away.
    assert len(of_kind(liked, EventKind.COMPLETE)) / 1_500 == pytest.approx(0.948, abs=0.036)
    assert len(of_kind(disliked, EventKind.COMPLETE)) / 1_500 == pytest.approx(0.405, abs=0.08)
    assert len(of_kind(disliked, EventKind.SKIP)) > 10 * len(of_kind(liked, EventKind.SKIP))
    assert not of_kind(disliked, EventKind.REWATCH)
    assert of_kind(liked, EventKind.REWATCH)


def test_a_fifth_of_the_titles_is_rated_at_the_time_and_with_the_stars_of_the_data() -> None:
    rows = history(1_500)
    given = {f"title {row}": (int(at), 4.0) for row, at in zip(rows.title, rows.timestamp, strict=True)}
    rated = of_kind(MANY, EventKind.RATE)
    assert all(given[str(event.title)] == (event.at, event.rating) for event in rated)
    assert len(rated) / 1_500 == pytest.approx(0.2, abs=0.062)  # six standard deviations


def test_without_ratings_nothing_is_rated_and_all_is_played() -> None:
    events = events_of(history(300, None))
    assert not of_kind(events, EventKind.RATE)
    assert len(of_kind(events, EventKind.PLAY)) == 300


def test_a_fifth_of_the_plays_follows_a_search_for_the_first_words_of_the_name() -> None:
    searches = of_kind(MANY, EventKind.SEARCH)
    assert {event.query for event in searches} == {"some", "some long", "some long name"}
    assert len(searches) / 1_500 == pytest.approx(0.2, abs=0.062)


def test_a_play_ends_before_its_rating_unless_breaks_or_a_return_delay_it() -> None:
    rows = history(400, apart=60)  # rated a minute apart: in bulk
    rated_at = dict(zip((f"title {row}" for row in rows.title), rows.timestamp.tolist(), strict=True))
    plays = of_kind(events_of(rows), EventKind.PLAY)
    assert all(play.at < rated_at[str(play.title)] for play in plays)
    # 400 ratings within a day are spread over more than half a year of viewing, in their order.
    days = Counter(play.at // DAY for play in plays)
    assert len(days) > 180
    assert max(days.values()) <= 4


def test_evenings_are_busiest_and_devices_keep_their_hours() -> None:
    evening = Counter[DeviceKind]()
    plays = Counter[DeviceKind]()
    for viewer in range(40):
        for event in of_kind(events_of(history(100), viewer=f"viewer {viewer}"), EventKind.PLAY):
            plays[event.device] += 1
            evening[event.device] += 20 <= event.at % DAY // HOUR < 23
    # Share of the evening: .38 on a TV, .18 on a phone; over 200 plays each, so bounds of .1 are three deviations.
    assert evening[DeviceKind.TV] / plays[DeviceKind.TV] == pytest.approx(0.38, abs=0.1)
    assert evening[DeviceKind.PHONE] / plays[DeviceKind.PHONE] == pytest.approx(0.18, abs=0.1)
    # Shares of devices vary from viewer to viewer; their mean over 40 viewers has a deviation of about .03.
    for kind, share in DEVICES.items():
        assert plays[kind] / sum(plays.values()) == pytest.approx(share, abs=0.12)


def test_pauses_are_resumed_where_they_began() -> None:
    open_at: dict[str, float | None] = {}
    for event in events_of(history(300)):
        title = str(event.title)
        if event.kind is EventKind.PAUSE:
            open_at[title] = event.position
        elif event.kind is EventKind.RESUME and title in open_at:
            assert event.position == open_at.pop(title)
    assert open_at == {}


def test_times_near_the_epoch_stay_after_it() -> None:
    rows = history(50)
    early = Interactions(rows.user, rows.title, np.arange(50)[::-1].astype(np.int64), rows.rating)
    assert min(event.at for event in events_of(early)) >= 0


def test_the_real_100k_turns_into_streams(data_dir: Path) -> None:
    data = load("ml-100k", offline=True)
    mine = np.flatnonzero(data.interactions.user == 0)
    events = generate(data.interactions, mine, data.catalogue, 7, data.viewers[0])
    assert len(of_kind(events, EventKind.PLAY)) == len(mine)
    assert {event.title for event in events if event.title} == {
        data.catalogue.ids[row] for row in data.interactions.title[mine]
    }
