"""The grid of a sweep: what is a cell, and what is refused before anything runs."""

from pathlib import Path

import pytest

from backrow.privacy.errors import ScenarioError
from backrow.simulations.scenario import Scenario
from backrow.simulations.study.cells import cell_key
from backrow.simulations.study.grid import Axis, Cell, cells_of, parse_axis
from backrow.simulations.study.memory import check_memory

BASE = Scenario.model_validate({"seed": 7, "data": {"name": "ml-100k"}})


def test_values_are_read_as_in_a_scenario_file() -> None:
    assert parse_axis("privacy.epsilon=1,2.5,none") == Axis("privacy.epsilon", (1, 2.5, "none"))
    assert parse_axis("trainer=gradient, subspace") == Axis("trainer", ("gradient", "subspace"))
    assert parse_axis("privacy.epsilon=.5, 1.,2.e1") == Axis("privacy.epsilon", (0.5, 1.0, 20.0))
    assert parse_axis('trainer="gradient"') == Axis("trainer", ("gradient",))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("privacy.epsilom=1", "did you mean privacy.epsilon?"),
        ("epsilon=1", "did you mean privacy.epsilon?"),
        ("privacy.epsilon", "write --grid section.key=value,value"),
        ("privacy.epsilon=", "write --grid section.key=value,value"),
        ("privacy.epsilon=1,1", "names a value twice"),
        ("privacy.epsilon=[1]", "a grid holds numbers"),
        ("privacy.epsilon=1,a b", "is no TOML value"),
        ("seed=1,2", "use --seeds"),
        ("data.name=ml-1m,ml-100k", "the same for all cells"),
        ("engine=flower", "the same for all cells"),
    ],
)
def test_an_axis_that_is_not_understood_is_refused_and_the_nearest_key_named(text: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=told.replace("?", r"\?")):
        parse_axis(text)


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        (Axis("privacy.epsilon", (1, -2)), "privacy.epsilon in --grid privacy.epsilon must be more than 0"),
        (Axis("trainer", ("gradiant",)), "did you mean gradient"),
        (Axis("model.rounds", (2.5,)), "must be a whole number"),
        (Axis("model.popularity_share", (0.99,)), "must leave some budget"),
    ],
)
def test_a_value_that_no_scenario_takes_is_refused(axis: Axis, told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        cells_of(BASE, [axis], 1)


def test_every_point_gets_every_seed_from_the_scenarios_on() -> None:
    cells = cells_of(BASE, [Axis("privacy.epsilon", (1, "none")), Axis("trainer", ("gradient", "prior"))], 3)
    assert len(cells) == 12
    assert [cell.scenario.seed for cell in cells[:3]] == [7, 8, 9]
    assert cells[0].scenario.privacy.epsilon == 1
    assert cells[-1].scenario.privacy.epsilon is None
    assert cells[-1].point == (("privacy.epsilon", "none"), ("trainer", "prior"))


def test_a_key_named_twice_no_seeds_and_too_many_cells_are_refused() -> None:
    with pytest.raises(ScenarioError, match="names a key twice"):
        cells_of(BASE, [Axis("model.ridge", (1.0,)), Axis("model.ridge", (2.0,))], 1)
    with pytest.raises(ScenarioError, match="at least one seed"):
        cells_of(BASE, [], 0)
    with pytest.raises(ScenarioError, match="more than a sweep takes"):
        cells_of(BASE, [Axis("model.rounds", tuple(range(1, 200)))], 100)


def test_a_cell_is_named_by_what_is_computed_and_not_by_where() -> None:
    def key(data: str = "d", code: str = "c", **changes: object) -> str:
        return cell_key(Cell(BASE.model_copy(update=changes), ()), data, code)

    assert key() == key(engine="flower") == key(nodes=4)
    named = {key(), key(seed=8), key(trainer="prior"), key(data="e"), key(code="b")}
    assert len(named) == 5


def test_baselines_are_named_apart_from_the_privacy_of_a_run() -> None:
    tight = BASE.model_copy(update={"privacy": BASE.privacy.model_copy(update={"epsilon": 1.0})})
    one, two = (cell_key(Cell(scenario, (), "baselines"), "d", "c") for scenario in (BASE, tight))
    assert one == two
    assert cell_key(Cell(BASE, ()), "d", "c") not in (one, cell_key(Cell(tight, ()), "d", "c"))


def test_too_little_memory_is_foreseen_and_the_number_of_jobs_that_fits_is_named() -> None:
    check_memory(2**30, 3, 3 * 2**30)
    check_memory(2**30, 300, None)
    with pytest.raises(ScenarioError, match=r"4 workers need about 4.0 GiB, and 3.0 are free: use --jobs 3"):
        check_memory(2**30, 4, 3 * 2**30)
    with pytest.raises(ScenarioError, match="needs a larger machine"):
        check_memory(2**30, 1, 2**29)


def test_this_machine_says_how_much_memory_it_has() -> None:
    from backrow.simulations.study.memory import available

    if not Path("/proc/meminfo").exists():
        pytest.skip("only Linux says so there")
    assert (available() or 0) > 2**20
