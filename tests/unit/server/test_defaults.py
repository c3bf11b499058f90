"""The public rule that chooses a trainer."""

import pytest

from backrow.privacy.accounting.gaussian import mu_for
from backrow.server.defaults import ENOUGH, Choice, default_trainer

ML_100K, ML_1M = (943, 1_682), (6_040, 3_706)


def chosen(epsilon: float | None, sizes: tuple[int, int], *, ordered: bool = True, described: bool = True) -> Choice:
    return default_trainer(
        epsilon, delta=1e-5, population=sizes[0], titles=sizes[1], ordered=ordered, described=described
    )


@pytest.mark.parametrize(
    ("epsilon", "sizes", "ordered", "trainer"),
    [
        (1.0, ML_1M, True, "sequence"),
        (1.0, ML_100K, True, "sequence"),
        (None, ML_100K, True, "sequence"),
        (0.1, ML_1M, True, "sequence"),
        (0.1, ML_100K, True, "sequence"),
        (1.0, ML_1M, False, "gradient"),
        (None, ML_1M, False, "gradient"),
        (0.3, ML_1M, False, "prior"),
        (1.0, ML_100K, False, "prior"),
    ],
)
def test_order_and_what_the_budget_can_say_decide(
    epsilon: float | None, sizes: tuple[int, int], ordered: bool, trainer: str
) -> None:
    assert chosen(epsilon, sizes, ordered=ordered).trainer == trainer


def test_the_reason_has_the_number_that_decided() -> None:
    said = mu_for(1.0, 1e-5) * 943 / 1_682
    assert f"{said:.3g}" in chosen(1.0, ML_100K).reason
    assert "the order of watching is not known" in chosen(8.0, ML_1M, ordered=False).reason
    assert "no noise" in chosen(None, ML_1M).reason


@pytest.mark.parametrize(("epsilon", "trainer"), [(0.3, "prior"), (1.0, "sequence"), (None, "sequence")])
def test_without_metadata_order_alone_needs_a_budget(epsilon: float | None, trainer: str) -> None:
    assert chosen(epsilon, ML_1M, described=False).trainer == trainer


@pytest.mark.parametrize("ordered", [True, False])
def test_more_devices_fewer_titles_or_more_budget_never_lead_back_to_the_prior(ordered: bool) -> None:
    for line in (
        [(1.0, (devices, 2_000)) for devices in (10, 100, 1_000, 10_000, 100_000)],
        [(1.0, (1_000, titles)) for titles in (100_000, 10_000, 1_000, 100)],
        [(epsilon, ML_100K) for epsilon in (0.1, 0.5, 1.0, 3.0, 8.0, None)],
    ):
        made = [chosen(epsilon, sizes, ordered=ordered, described=False) for epsilon, sizes in line]
        priors = [choice.trainer == "prior" for choice in made]
        assert priors == sorted(priors, reverse=True)
        assert {True, False} == set(priors)


@pytest.mark.parametrize(("trainer", "ordered"), [("sequence", True), ("gradient", False)])
def test_the_threshold_itself_is_enough(trainer: str, ordered: bool) -> None:
    titles = 1_000
    devices = next(n for n in range(1, 10**6) if mu_for(1.0, 1e-5) * n / titles >= ENOUGH[trainer])
    assert chosen(1.0, (devices, titles), ordered=ordered, described=False).trainer == trainer
    assert chosen(1.0, (devices - 1, titles), ordered=ordered, described=False).trainer == "prior"
