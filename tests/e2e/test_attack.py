"""The run that is attacked is the run that is made: same bits, with and without Flower."""

from pathlib import Path

import numpy as np
import pytest

from backrow.privacy.units import PrivacyClaim
from backrow.server.strategy import Outcome
from backrow.simulations.attack_rounds import attacked_run
from backrow.simulations.attack_targets import Viewers, hosted_devices
from backrow.simulations.pipeline import Prepared, commit, people
from backrow.simulations.scenario import Scenario
from backrow.simulations.splits import make_split
from backrow.simulations.training import train
from tests.unit.simulations.small_data import two_tastes


@pytest.mark.parametrize("trainer", ["subspace", "gradient", "opacus"])
def test_an_attack_sees_the_releases_of_the_real_coordinator(trainer: str, tmp_path: Path) -> None:
    dataset = two_tastes(150, 24)
    scenario = Scenario.model_validate(
        {"seed": 3, "trainer": trainer, "data": {"name": "small", "split": "last"}, "model": {"rounds": 2}}
    ).in_the_clear()
    split = make_split(dataset, "last")
    population = people(scenario, dataset, split.train, split.test)
    committed, hosted = commit(scenario, Prepared(dataset, split, population)), hosted_devices(population)
    some = Viewers.choose(3, 20, hosted)
    everybody = Viewers(np.ones_like(some.included), some.positions, some.histories)
    attacked = attacked_run(committed, hosted, everybody, seed=3)

    def publish(outcome: Outcome, claim: PrivacyClaim) -> tuple[bytes, bytes]:
        return bytes(32), bytes(32)

    trained = train(
        committed, population, tmp_path, engine="inprocess", nodes=2, seed=3, observe=lambda _: None,
        publish=publish,
    )  # fmt: skip
    made = trained.outcome.program.model()
    seen = attacked.program.model()
    assert len(trained.outcome.releases) == 5
    assert np.array_equal(seen.item_factors, made.item_factors)
    assert np.array_equal(seen.popularity, made.popularity)
    # Control: with some of them excluded it is another run.
    other = attacked_run(committed, hosted, some, seed=3).program.model()
    assert not np.array_equal(other.popularity, made.popularity)
