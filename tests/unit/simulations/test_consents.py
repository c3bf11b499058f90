"""Populations with opt-outs, children, tastes, flips and devices that are away: the same wherever they are hosted."""

from pathlib import Path

import numpy as np
import pytest

from backrow.privacy import wire
from backrow.privacy.signing import SigningKey
from backrow.simulations.consents import (
    Changes,
    Owners,
    consent_notes,
    consents_at,
    draw_owners,
    fewest_present,
    in_reach,
)
from backrow.simulations.pipeline import changes_of, commit, people, prepare, run_id
from backrow.simulations.population import EdgeOpener, device_key, device_name
from backrow.simulations.runner import run
from backrow.simulations.scenario import ConsentSection, Scenario
from tests.unit.simulations.small_data import two_tastes

DEVICES = 20_000
KEY = SigningKey(bytes(32))
RNG = np.random.default_rng(5)
TITLE = np.minimum(RNG.geometric(0.02, 10 * DEVICES) - 1, 499).astype(np.int32)
USER = np.repeat(np.arange(DEVICES, dtype=np.int32), 10)


def owners(withheld: float = 0.0, seed: int = 1, devices: int = DEVICES, **consent: float) -> Owners:
    mine = devices > USER
    return draw_owners(seed, withheld, ConsentSection.model_validate(consent), USER[mine], TITLE[mine], devices)


def mainstream() -> np.ndarray:
    return np.bincount(TITLE)[TITLE].reshape(DEVICES, 10).mean(axis=1)


def test_shares_are_as_the_scenario_says() -> None:
    """Each share lies within .02 of what is asked: 5 standard deviations of a share among 20,000."""
    made = owners(0.3, opt_outs=0.2, children=0.1)
    assert abs(made.opted_out.mean() - 0.2) < 0.02
    assert abs(made.children.mean() - 0.1) < 0.02
    assert abs(made.granted.mean() - 0.7 * 0.8 * 0.9) < 0.02
    assert not (made.granted & (made.opted_out | made.children)).any()


@pytest.mark.parametrize("taste", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_withholding_goes_with_taste_as_far_as_it_is_said_to(taste: float) -> None:
    made, score = owners(0.3, opt_outs=0.3, taste=taste), mainstream()
    for left in (made.opted_out, ~made.granted):
        rank = np.argsort(np.argsort(score))[left].mean() / DEVICES
        assert abs(rank - 0.5) < 0.02 if not taste else np.sign(rank - 0.5) == np.sign(taste)
    assert abs(made.opted_out.mean() - 0.3) < 0.02
    if abs(taste) == 1:
        inside, outside = score[made.opted_out] * taste, score[~made.opted_out] * taste
        assert inside.min() >= outside.max()


def test_without_this_section_the_same_owners_withhold_as_before() -> None:
    from backrow.privacy.randomness import SeededRandom

    before = SeededRandom(1, "consent").numpy().random(DEVICES) >= 0.4
    assert np.array_equal(owners(0.4).granted, before)


def test_a_device_keeps_its_draws_whatever_the_others_do() -> None:
    many, few = owners(0.2, opt_outs=0.2, children=0.1), owners(0.2, opt_outs=0.2, children=0.1, devices=500)
    assert np.array_equal(many.granted[:500], few.granted)
    changes = Changes(0.3, 0.2)
    for number in (1, 2, 5):
        assert np.array_equal(consents_at(many, 1, changes, number)[:500], consents_at(few, 1, changes, number))
        assert np.array_equal(in_reach(DEVICES, 1, changes, number)[:500], in_reach(500, 1, changes, number))


def test_owners_change_their_minds_as_often_as_said_and_some_never() -> None:
    made, changes = owners(0.3, opt_outs=0.1, children=0.1), Changes(flips=0.2)
    first, second, third = (consents_at(made, 1, changes, number) for number in (1, 2, 3))
    free = ~(made.opted_out | made.children)
    assert np.array_equal(first, made.granted)
    for before, after in ((first, second), (second, third)):
        assert abs((before != after)[free].mean() - 0.2) < 0.02
        assert not after[~free].any()


def test_fewer_are_counted_on_than_ever_are_there() -> None:
    for chances in ({}, {"opt_outs": 0.3}, {"flips": 0.3, "offline": 0.1}, {"offline": 0.6, "children": 0.2}):
        consent = ConsentSection.model_validate(chances)
        made, changes = owners(0.1, **chances), Changes(consent.flips, consent.offline)
        present = [
            int((consents_at(made, 1, changes, number) & in_reach(DEVICES, 1, changes, number)).sum())
            for number in range(1, 9)
        ]
        assert 0.9 * min(present) < fewest_present(made, changes, 8) <= min(present)


def test_what_is_not_asked_for_is_not_noted_and_what_happened_is() -> None:
    assert consent_notes(owners(), 1, Changes(), 3) == []
    (note,) = consent_notes(owners(opt_outs=0.5, devices=100), 1, Changes(flips=0.5, offline=0.5), 3)
    assert "are on the list of opt-outs" in note
    assert "nobody is told" in note
    assert "in 3 rounds owners changed their minds" in note


def scenario(tmp_path: Path, **sections: object) -> Scenario:
    data = two_tastes(60, 24).interactions
    rows = [f"u{user},t{title},{at}" for user, title, at in zip(data.user, data.title, data.timestamp, strict=True)]
    (tmp_path / "views.csv").write_text("\n".join(["user,item,timestamp", *rows]) + "\n")
    made = {"seed": 3, "trainer": "gradient", "data": {"path": str(tmp_path / "views.csv")}, "model": {"rounds": 1}}
    return Scenario.model_validate({**made, **sections})


def enrolled(opener: EdgeOpener, nodes: int, number: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for node in range(nodes):
        reply = wire.decode(opener(node, nodes).enrol(wire.encode_signed(wire.EnrolCall("run", True, number), KEY)))
        assert isinstance(reply, wire.EnrolReply)
        found.update(zip(reply.devices, reply.identities, strict=True))
    return found


def test_edges_report_who_grants_and_is_there_in_each_round_on_any_number_of_nodes(tmp_path: Path) -> None:
    made = scenario(tmp_path, consent={"opt_outs": 0.1, "flips": 0.3, "offline": 0.2})
    prepared = prepare(made)
    prepared.population.write(tmp_path / "population")
    opener = EdgeOpener(tmp_path / "population", made.seed, KEY.public, changes=changes_of(made))
    rounds = []
    for number in (1, 2, 3):
        owners, changes = prepared.population.owners, changes_of(made)
        there = consents_at(owners, 3, changes, number) & in_reach(60, 3, changes, number)
        expected = {device_name(int(slot)): device_key(3, int(slot)).public for slot in np.flatnonzero(there)}
        assert enrolled(opener, 1, number) == enrolled(opener, 3, number) == expected
        rounds.append(frozenset(expected))
    assert len(set(rounds)) == 3


@pytest.mark.parametrize("aggregation", ["trusted", "secure"])
def test_a_run_with_all_of_it_comes_to_its_end_and_says_what_there_was(tmp_path: Path, aggregation: str) -> None:
    consent = {"opt_outs": 0.1, "children": 0.1, "taste": 0.7, "flips": 0.05, "offline": 0.1}
    privacy = {"aggregation": aggregation, "epsilon": 8.0, "dropouts": 0.3}
    made = scenario(tmp_path, consent=consent, privacy=privacy, nodes=2)
    results = run(made, tmp_path / "run", baselines=False)
    assert any("are on the list of opt-outs" in note for note in results.notes)
    assert not any("stopped early" in warning for warning in results.warnings)
    lists = (tmp_path / "run" / "coordinator" / "suppression.jsonl").read_text().splitlines()
    assert len(lists) == 1 + int(prepare(made).population.opted_out.sum()) > 1


def test_a_run_is_named_as_before_where_nothing_is_said_of_consent(tmp_path: Path) -> None:
    made = scenario(tmp_path)
    dataset = prepare(made).dataset
    assert run_id(made, dataset) != run_id(scenario(tmp_path, consent={"offline": 0.1}), dataset)
    names = {run_id(scenario(tmp_path, consent=consent), dataset) for consent in ({}, {"opt_outs": 0.0})}
    assert names == {run_id(made, dataset)}


def test_the_minimum_leaves_room_for_those_who_are_away(tmp_path: Path) -> None:
    calm, busy = scenario(tmp_path), scenario(tmp_path, consent={"offline": 0.3})
    least = [commit(made, prepare(made)).settings.minimum for made in (calm, busy)]
    assert least[1] < 0.7 * least[0]


def test_children_and_opted_out_owners_are_in_the_population_but_never_granting(tmp_path: Path) -> None:
    made = scenario(tmp_path, consent={"opt_outs": 0.3, "children": 0.3})
    prepared = prepare(made)
    population = people(made, prepared.dataset, prepared.split.train)
    assert len(population) == 60
    assert population.opted_out.any()
    assert population.children.any()
    assert not (population.granted & (population.opted_out | population.children)).any()
