"""Real devices evaluate the model on what their owners watched since a public time, under Flower."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backrow.client import Device, EventKind, WatchEvent
from backrow.client.solve import user_factors
from backrow.privacy.queries import Metric, Query
from backrow.server.programs.model import ModelProgram
from backrow.server.registry import write_first_bundle
from tests.e2e.test_devices_under_flower import FEATURES, KEY, NOW, POLICY, SETTINGS, TITLES, train

SINCE = NOW - 500
EVALUATED = replace(SETTINGS, since=SINCE)
OWNERS = 12


def seen(owner: int, step: int) -> int:
    """Row of what an owner watched at a step: even titles, or odd ones."""
    return (2 * step + 2 * owner + owner % 2) % 20


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[dict[str, Device]]:
    """Six titles each before the public time; owners 0 to 9 watch another afterwards, 9 what she knew."""
    program = ModelProgram.start(EVALUATED, FEATURES)
    write_first_bundle(tmp_path / "first", program.metadata, TITLES, EVALUATED.run_id, KEY)
    anything = replace(POLICY, largest_mu=math.inf, largest_epsilon=math.inf)
    made = {}
    for owner in range(OWNERS):
        device = Device.open(
            tmp_path / f"device{owner}", bytes([owner]) * 32, coordinator_key=KEY.public, policy=anything,
            clock=lambda: NOW,
        )  # fmt: skip
        device.install(tmp_path / "first")
        for step in range(6):
            device.record(WatchEvent(EventKind.COMPLETE, SINCE - 100 + step, f"t{seen(owner, step)}"))
        if owner < 10:
            later = seen(owner, 2) if owner == 9 else seen(owner, 7)
            device.record(WatchEvent(EventKind.COMPLETE, SINCE + owner, f"t{later}"))
            device.record(WatchEvent(EventKind.COMPLETE, SINCE + 400, f"t{seen(owner, 2)}"))
        device.set_consent(True)
        made[f"device{owner:02d}"] = device
    yield made
    for device in made.values():
        device.close()


def test_the_coordinator_learns_how_its_model_ranks_what_came_after(devices: dict[str, Device], tmp_path: Path) -> None:
    coordinator, outcome = train(devices, tmp_path / "run", replace(EVALUATED, epsilon=None))
    assert coordinator.problems == []
    assert [report.plan.query.query for report in outcome.reports][-1] is Query.EVAL
    assert {report.participants for report in outcome.reports} == {OWNERS}
    question = outcome.program.ask(Query.EVAL)
    factors, popularity = question.tensors["factors"], question.tensors["popularity"][:, 0]
    ranks: dict[str, list[float]] = {"own": [], "popular": []}
    for owner in range(9):  # nothing is fresh to the others
        known = sorted(seen(owner, step) for step in range(6))
        own = factors @ user_factors(factors, np.array(known), np.ones(6), 0.4, 0.1)
        for name, scores in (("own", own), ("popular", popularity)):
            free = [scores[row] for row in range(20) if row not in known]
            fresh = scores[seen(owner, 7)]
            ranks[name].append(sum(s > fresh for s in free) + (sum(s == fresh for s in free) - 1) / 2)
    metrics = outcome.program.metrics()
    assert metrics is not None
    assert metrics.per_device[Metric.EVALUATED].value == pytest.approx(9 / OWNERS)
    for name, hit, gain in (
        ("own", Metric.HIT, Metric.NDCG),
        ("popular", Metric.POPULAR_HIT, Metric.POPULAR_NDCG),
    ):
        found = np.array(ranks[name])
        assert metrics.rates[hit].value == pytest.approx(np.mean(found < 10), abs=1e-5)
        assert metrics.rates[gain].value == pytest.approx(np.mean((found < 10) / np.log2(found + 2)), abs=1e-5)


def test_what_came_after_changes_no_round_but_the_evaluation(devices: dict[str, Device], tmp_path: Path) -> None:
    open_run = replace(EVALUATED, epsilon=None)
    _, first = train(devices, tmp_path / "one", open_run)
    for owner, device in enumerate(devices.values()):
        device.record(WatchEvent(EventKind.COMPLETE, NOW - 1, f"t{seen(owner, 8)}"))
    _, second = train(devices, tmp_path / "two", replace(open_run, run_id="again"))
    pairs = list(zip(first.releases, second.releases, strict=True))
    assert all(np.allclose(one.values, other.values, atol=1e-4) for one, other in pairs[:-1])
    # Owners 9 to 11 now have a fresh title too.
    assert pairs[-1][1].values[0, 0] - pairs[-1][0].values[0, 0] == pytest.approx(3, abs=1e-4)


def test_a_private_run_pays_for_its_evaluation_in_the_same_budget(devices: dict[str, Device], tmp_path: Path) -> None:
    coordinator, outcome = train(devices, tmp_path / "run", EVALUATED)
    assert [report.outcome for report in outcome.reports] == ["released"] * 5
    spent = [report.spent for report in outcome.reports]
    assert spent[-2] is not None
    assert spent[-1] is not None
    assert spent[-2] < spent[-1] <= 8
    assert not coordinator.schedule.simulated
    metrics = outcome.program.metrics()
    assert metrics is not None
    assert metrics.noise_scale > OWNERS  # so few devices are lost in it, and that is said
    assert all(0 <= each.low <= each.high <= 1 for each in metrics.rates.values())
