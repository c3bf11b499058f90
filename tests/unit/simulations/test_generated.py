"""Generated populations: the same bytes for everybody, a long tail, tastes to learn, files that are checked."""

import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.errors import DataError, ScenarioError
from backrow.simulations import generated, pipeline
from backrow.simulations.consents import draw_owners, mainstream_of, owners_of
from backrow.simulations.datasets.generated import BLOCK, Aliases, draw_block, generate
from backrow.simulations.datasets.recipe import Recipe
from backrow.simulations.evaluation import everybodys_popularity
from backrow.simulations.generated import files_of
from backrow.simulations.generated_people import sample_of
from backrow.simulations.metrics import evaluate
from backrow.simulations.pipeline import Prepared, commit, prepare, run_id
from backrow.simulations.population import Population
from backrow.simulations.scenario import ConsentSection, Scenario
from backrow.simulations.scenario_file import make_scenario

DEVICES = 5_000
RECIPE = Recipe(devices=DEVICES, titles=800, events=40, factors=20, tastes=12)


def table(**changes: object) -> dict[str, object]:
    """A scenario of a small generated population."""
    numbers = {"devices": DEVICES, "titles": 800, "events": 40, "factors": 20, "tastes": 12}
    return {
        "data": {"name": "generated"},
        "generated": numbers,
        "trainer": "subspace",
        "privacy": {"epsilon": 8.0, "aggregation": "trusted", "noise": "once"},
        "model": {"rounds": 1, "evaluation_share": 0.0},
        "evaluation": {"protocols": ["full"], "baselines": ["popularity"], "sample": 500},
        **changes,
    }


def scenario(**changes: object) -> Scenario:
    return make_scenario(table(**changes), "a test")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def elsewhere(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKROW_CACHE", str(cache))


@pytest.fixture
def prepared() -> Prepared:
    return prepare(scenario())


def drawn(folder: Path, recipe: Recipe, workers: int) -> dict[str, bytes]:
    folder.mkdir()
    generate(recipe, folder, workers, lambda share: None)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_one_worker_and_three_write_the_same_files(tmp_path: Path) -> None:
    assert DEVICES > BLOCK
    one, three = drawn(tmp_path / "one", RECIPE, 1), drawn(tmp_path / "three", RECIPE, 3)
    assert one == three
    assert drawn(tmp_path / "other", Recipe(DEVICES, 800, 40, 20, 12, seed=2), 3)["titles.npy"] != one["titles.npy"]


def test_a_block_does_not_hang_on_how_many_devices_there_are() -> None:
    more = Recipe(DEVICES + BLOCK, 800, 40, 20, 12)
    aliases, wanted = Aliases.of(RECIPE.taste_popularity), RECIPE.lengths(0, BLOCK)
    np.testing.assert_array_equal(wanted, more.lengths(0, BLOCK))
    for mine, theirs in zip(draw_block(RECIPE, aliases, 0, wanted), draw_block(more, aliases, 0, wanted), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_histories_are_ascending_and_distinct_and_the_held_out_title_is_new_to_its_device(prepared: Prepared) -> None:
    people = prepared.population
    device = np.repeat(np.arange(DEVICES), np.diff(people.starts))
    key = device * 800 + people.titles
    assert np.all(np.diff(key) > 0)
    assert people.titles.min() >= 0
    assert people.titles.max() < 800
    assert not np.isin(np.arange(DEVICES) * 800 + people.fresh, key).any()
    assert people.fresh.min() >= 0
    assert np.all(people.weights[people.starts[:-1]] == 1)
    assert len(people.weights) == len(people.titles)


def test_histories_are_as_long_and_as_recent_as_they_are_said_to_be(prepared: Prepared) -> None:
    lengths = np.diff(prepared.population.starts)
    assert abs(lengths.mean() / 40 - 1) < 0.05
    assert lengths.min() == 8
    assert lengths.max() > 150
    recent = prepared.population.recent
    assert 0.06 < recent.mean() < 0.16
    assert recent[np.isin(prepared.population.titles, np.flatnonzero(RECIPE.new))].all()


def test_popularity_has_a_long_tail_that_the_recipe_sets(prepared: Prepared) -> None:
    counts = np.sort(prepared.population.title_counts(800))[::-1]
    assert counts.sum() == len(prepared.population.titles)
    assert 0.3 < counts[:80].sum() / counts.sum() < 0.8
    assert np.median(counts) < counts.mean() / 1.5
    level = Recipe(DEVICES, 800, 40, 20, 12, tail=0.0)
    assert np.ptp(level.popularity) == 0 < np.ptp(RECIPE.popularity)


def test_the_alias_tables_draw_what_each_taste_likes() -> None:
    """Each share lies within 5 standard deviations of the taste's own."""
    draws, random = 200_000, np.random.default_rng(3)
    aliases = Aliases.of(RECIPE.taste_popularity)
    for taste in (0, RECIPE.tastes):
        share = RECIPE.taste_popularity[taste]
        seen = np.bincount(aliases.draw(np.full(draws, taste), random), minlength=800) / draws
        assert np.all(np.abs(seen - share) <= 5 * np.sqrt(share / draws) + 2 / draws)


def test_who_wants_more_than_her_tastes_hold_still_gets_it() -> None:
    narrow = Recipe(devices=10, titles=50, events=6, factors=12, tastes=1, tail=4.0)
    wanted = np.full(10, 45)
    titles, _, fresh = draw_block(narrow, Aliases.of(narrow.taste_popularity), 0, wanted)
    for mine, held_out in zip(titles.reshape(10, 45), fresh, strict=True):
        assert len({*mine.tolist(), int(held_out)}) == 46


def test_the_prior_has_the_columns_that_were_asked_for(prepared: Prepared) -> None:
    committed = commit(scenario(), prepared)
    schema = committed.program.training_schema()
    assert schema is not None
    assert schema.columns == 20


def test_tastes_can_be_learned_and_metadata_shows_part_of_them(prepared: Prepared) -> None:
    """With the truth: two devices of one taste share more titles than two of any, and more than genres explain."""
    shares = RECIPE.taste_popularity[:-1] / RECIPE.popularity
    features = RECIPE.catalogue.features()
    logs = np.log(shares) - np.log(shares).mean(axis=1, keepdims=True)
    design = np.hstack([features, np.ones((800, 1))])
    fitted = design @ np.linalg.lstsq(design, logs.T, rcond=None)[0]
    explained = 1 - np.var(logs.T - fitted) / np.var(logs)
    assert 0.3 < explained < 0.9


def test_a_population_is_drawn_once_and_checked_whenever_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKROW_CACHE", str(tmp_path))
    small = Recipe(devices=100, titles=400, events=20)
    told: list[float] = []
    first = files_of(small, 1, told.append)
    assert told[-1] == 1.0
    assert files_of(small, 1, told.append) == first
    assert told.count(1.0) == 1
    path = first.folder / "titles.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="not what was written there: remove the folder"):
        files_of(small, 1, told.append)
    shutil.rmtree(first.folder)
    assert files_of(small, 2, told.append) == first


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKROW_CACHE", str(tmp_path))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(generated.shutil, "disk_usage", lambda path: usage._replace(free=10_000))
    with pytest.raises(DataError, match=r"takes 0\.0 GB on disk and 0\.0 GB are free"):
        files_of(Recipe(devices=100, titles=400, events=20), 1, lambda share: None)
    assert not list(tmp_path.rglob("*.npy"))


def test_models_are_measured_on_a_sample_with_its_own_histories(prepared: Prepared) -> None:
    sample, people = prepared.sample, prepared.population
    assert sample is not None
    assert len(set(sample.tolist())) == len(sample) == prepared.split.viewers == 500
    watched = prepared.split.train.matrix(500, 800)
    for viewer in (0, 123, 499):
        history = people.history(int(sample[viewer]))
        np.testing.assert_array_equal(watched[[viewer]].indices, history.titles)
        assert history.fresh == prepared.split.test[viewer]
    hits = evaluate(everybodys_popularity(prepared), prepared.split).hr
    assert 0.02 < hits < 0.5
    assert sample_of(1, 100, 500).tolist() == list(range(100))


def test_the_run_id_hangs_on_the_population_but_not_on_the_sample(prepared: Prepared) -> None:
    named = run_id(scenario(), prepared.dataset)
    less = {"protocols": ["full"], "baselines": ["popularity"], "sample": 100}
    assert run_id(scenario(evaluation=less), prepared.dataset) == named
    other = prepare(scenario(generated={"devices": DEVICES, "titles": 800, "events": 40, "seed": 2}))
    assert run_id(scenario(), other.dataset) != named


def test_a_written_population_links_what_lies_in_the_cache(prepared: Prepared, tmp_path: Path) -> None:
    prepared.population.write(tmp_path / "population")
    assert (tmp_path / "population" / "titles.npy").is_symlink()
    assert not (tmp_path / "population" / "granted.npy").is_symlink()
    assert (tmp_path / "population" / "weights.npy").stat().st_size < 500
    again = Population.open(tmp_path / "population")
    for name in ("starts", "titles", "weights", "recent", "granted", "fresh"):
        np.testing.assert_array_equal(getattr(again, name), getattr(prepared.population, name))


def test_a_part_of_a_mapped_file_is_not_taken_for_the_whole(prepared: Prepared, tmp_path: Path) -> None:
    cut = replace(prepared.population, fresh=prepared.population.fresh[:-1])
    cut.write(tmp_path / "population")
    assert len(Population.open(tmp_path / "population").fresh) == DEVICES - 1


def test_who_withholds_by_taste_is_the_same_read_in_parts_or_at_once(prepared: Prepared) -> None:
    people, consent = prepared.population, ConsentSection(taste=-0.8, opt_outs=0.2)
    user = np.repeat(np.arange(DEVICES, dtype=np.int32), np.diff(people.starts))
    at_once = draw_owners(1, 0.3, consent, user, np.asarray(people.titles), DEVICES)
    parts = owners_of(1, 0.3, consent, DEVICES, lambda: mainstream_of(people.starts, people.titles))
    np.testing.assert_array_equal(at_once.granted, parts.granted)
    np.testing.assert_array_equal(at_once.opted_out, parts.opted_out)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": {"name": "generated", "signals": "events"}}, "no events"),
        ({"data": {"name": "generated", "split": "ncf"}}, "published split"),
        ({"evaluation": {"tuning": True, "baselines": ["popularity"]}}, "validation titles"),
        ({"evaluation": {"baselines": ["popularity", "ease"], "sample": 500}}, "the baselines ease need everybody's"),
    ],
)
def test_what_a_generated_population_does_not_have_is_refused(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        prepare(scenario(**change))


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"titles": 100, "events": 20}, "titles: at least 8 times events"),
        ({"devices": 1}, "generated.devices"),
        ({"factors": 5}, "generated.factors"),
        ({"tail": 9.0}, "generated.tail"),
    ],
)
def test_an_impossible_population_is_refused(section: dict[str, object], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        scenario(generated=section)


def test_a_study_that_makes_people_anew_is_refused(prepared: Prepared) -> None:
    with pytest.raises(ScenarioError, match="name a data set such as ml-1m"):
        pipeline.people(scenario(), prepared.dataset, prepared.split.train)


def test_a_description_that_nobody_asked_for_is_refused() -> None:
    with pytest.raises(ScenarioError, match="name it, or drop it"):
        scenario(data={"name": "ml-100k"})


def test_the_scenario_of_a_generated_population_is_written_and_read_back() -> None:
    assert make_scenario(tomllib.loads(scenario().to_toml()), "again") == scenario()
