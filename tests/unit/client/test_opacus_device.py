"""Trainer `opacus`: numpy's clipped gradients, Opacus' noise, the same bits for the same randomness."""

import sys
import warnings
from statistics import NormalDist

import numpy as np
import pytest
import torch

from backrow.client.answers import answer_block
from backrow.client.training.base import TrainingCall
from backrow.client.training.gradient import GradientTrainer
from backrow.client.training.opacus_common import torch_generator
from backrow.client.training.opacus_device import OpacusTrainer
from backrow.privacy.errors import RefusedCallError
from backrow.privacy.plan import Noise
from backrow.privacy.randomness import OsRandom, SeededRandom
from backrow.privacy.wire import RoundCall
from tests.builders import gradient_call, histories
from tests.egress_guard import run_guarded

BLOCK = histories(64, 40)


def call(noise_multiplier: float = 0.0, clip_norm: float = 2.0, minimum: int = 64, **changes: object) -> TrainingCall:
    made = gradient_call(
        noise_multiplier=noise_multiplier, clip_norm=clip_norm, minimum=minimum, noise=Noise.BLOCK, **changes
    )
    return TrainingCall(made.plan, made.tensors, made.settings)


def answer(made: TrainingCall, devices: int = 64, *labels: int) -> np.ndarray:
    return OpacusTrainer().answer(made, BLOCK[:devices], SeededRandom(1, *labels)).values


@pytest.mark.parametrize("clip_norm", [1e-4, 0.05, 0.3, 2.0, 1e6])
def test_without_noise_the_block_sum_is_the_numpy_trainers(clip_norm: float) -> None:
    made = call(clip_norm=clip_norm, scale=1.0)
    expected = GradientTrainer().answer(made, BLOCK, SeededRandom(1)).total()
    difference = np.linalg.norm(answer(made) - expected)
    assert difference <= 1e-9 * np.linalg.norm(expected)


def test_that_comparison_sees_clipping() -> None:
    made, unclipped = call(clip_norm=0.3), call(clip_norm=1e6, scale=1.0)
    assert np.linalg.norm(answer(made) - answer(unclipped)) > 0.1 * np.linalg.norm(answer(unclipped))


@pytest.mark.parametrize("clip_norm", [1e-4, 0.05, 0.3])
def test_no_device_exceeds_the_clip_norm(clip_norm: float) -> None:
    made = call(clip_norm=clip_norm)
    norms = [
        float(np.linalg.norm(OpacusTrainer().answer(made, [history], SeededRandom(1)).values)) for history in BLOCK
    ]
    assert max(norms) <= clip_norm
    assert sum(norm > 0.999999 * clip_norm for norm in norms) > 32


def test_a_device_that_watched_nothing_answers_zero() -> None:
    assert len(BLOCK[0]) == 0
    assert not np.any(answer(call(), 1))


def noise(made: TrainingCall, devices: int, draws: int) -> np.ndarray:
    plain = call()
    quiet = answer(plain, devices)
    return np.stack([answer(made, devices, draw) - quiet for draw in range(draws)])


def deviates(values: np.ndarray, sd: float) -> bool:
    """Whether the mean square of Gaussian values contradicts `sd`; false alarm once in 10^6."""
    freedom = values.size
    cut = NormalDist().inv_cdf(1 - 0.5e-6)
    # Wilson and Hilferty: the cube root of chi square / freedom is close to normal.
    score = (np.mean((values / sd) ** 2) ** (1 / 3) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))
    return bool(abs(score) > cut)


@pytest.mark.parametrize(("devices", "minimum"), [(64, 64), (10, 64), (64, 20), (1, 4)])
def test_a_block_carries_its_share_of_the_noise(devices: int, minimum: int) -> None:
    """Standard deviation z C sqrt(devices / minimum). False alarm: 10^-6 each."""
    made = call(noise_multiplier=3.0, minimum=minimum)
    sd = 3.0 * 2.0 * np.sqrt(devices / minimum)
    drawn = noise(made, devices, 40)
    assert not deviates(drawn, sd)
    assert deviates(drawn, 1.1 * sd)
    assert abs(drawn.mean()) < 5 * sd / np.sqrt(drawn.size)


def test_blocks_that_reach_the_minimum_carry_the_whole_noise_together() -> None:
    """Three blocks of 64, 64 and 22 devices under a minimum of 150: standard deviation z C. False alarm: 10^-6."""
    made = call(noise_multiplier=3.0, minimum=150, population=200)
    total = noise(made, 64, 30) + noise(made, 64, 60)[30:] + noise(made, 22, 90)[60:]
    assert not deviates(total, 6.0)
    assert deviates(total, 6.0 * 0.9)


def test_the_same_randomness_gives_the_same_bits_and_another_block_other_noise() -> None:
    made = call(noise_multiplier=1.0)
    assert np.array_equal(answer(made, 64, 5), answer(made, 64, 5))
    first, second = noise(made, 64, 2)
    assert not np.any(first == second)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)


def test_where_arrays_lie_in_memory_does_not_change_a_bit() -> None:
    made = call(noise_multiplier=1.0, titles=333, columns=7)
    factors = np.asarray(made.tensors["factors"])
    expected = answer(made, 64)
    for offset in (1, 3, 5):
        buffer = np.empty(factors.size + 8)
        shifted = buffer[offset : offset + factors.size].reshape(factors.shape)
        shifted[:] = factors
        assert np.array_equal(answer(TrainingCall(made.plan, {"factors": shifted}, made.settings), 64), expected)


def test_torch_runs_on_one_thread_inside_and_as_many_as_before_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    linear = torch.nn.functional.linear

    def spy(*arguments: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return linear(*arguments)

    monkeypatch.setattr(torch.nn.functional, "linear", spy)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        answer(call())
        with pytest.raises(KeyError):
            answer(TrainingCall(call().plan, {}, {}))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_a_torch_seed_alone_would_repeat_noise_but_the_whole_state_is_drawn() -> None:
    """Why `torch_generator` fills the state: seeds 2^32 apart are one seed to torch's CPU generator."""
    one, other = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5 + 2**32)
    assert torch.equal(torch.rand(8, generator=one), torch.rand(8, generator=other))

    random = SeededRandom(5)
    ours = [torch.rand(8, generator=torch_generator(random)) for _ in range(2)]
    assert not torch.equal(*ours)
    assert torch.equal(ours[0], torch.rand(8, generator=torch_generator(SeededRandom(5))))
    state = torch_generator(SeededRandom(5)).get_state().numpy().view(np.uint64)
    drawn = np.frombuffer(SeededRandom(5).bytes(4 * 624), dtype="<u4")
    assert np.array_equal(state[3:627], drawn)


def test_the_operating_systems_randomness_works_too() -> None:
    made = call(noise_multiplier=1.0)
    first, second = (OpacusTrainer().answer(made, BLOCK, OsRandom()).values for _ in range(2))
    assert not np.any(first == second)


def test_a_plan_whose_noise_the_coordinator_adds_is_refused() -> None:
    made = gradient_call(noise_multiplier=1.0, noise=Noise.ONCE)
    with pytest.raises(RefusedCallError, match="noise 'block'"):
        OpacusTrainer().answer(TrainingCall(made.plan, made.tensors, made.settings), BLOCK, SeededRandom(1))


def test_a_call_for_it_is_answered_in_integers() -> None:
    made = gradient_call(noise_multiplier=1.0, noise=Noise.BLOCK, minimum=64)
    asked = RoundCall(made.plan, "opacus", 64, (), made.tensors, made.settings)
    integers = answer_block(asked, BLOCK, SeededRandom(1))
    assert integers.dtype == np.int64
    exact = OpacusTrainer().answer(TrainingCall(made.plan, made.tensors, made.settings), BLOCK, SeededRandom(1))
    np.testing.assert_allclose(integers / made.plan.scale, exact.values, atol=0.5 / made.plan.scale)


def test_no_warning_is_left_and_no_other_is_silenced() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer(call(noise_multiplier=1.0))
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", UserWarning, stacklevel=1)


TRAIN_BOTH = """
from backrow.client.training.base import TrainingCall
from backrow.client.training.opacus_device import OpacusTrainer
from backrow.client.training.opacus_event import OpacusEventTrainer
from backrow.privacy.plan import Noise
from backrow.privacy.randomness import SeededRandom
from tests.builders import gradient_call, histories
call = gradient_call(noise_multiplier=1.0, noise=Noise.BLOCK)
numbers = dict(noise_multiplier=1, clip_norm=1, epochs=1, batch=64, learning_rate=1)
settings = {**call.settings, **{"event_" + name: float(value) for name, value in numbers.items()}}
for trainer in (OpacusTrainer(), OpacusEventTrainer()):
    trainer.answer(TrainingCall(call.plan, call.tensors, settings), histories(9, 40), SeededRandom(1))
"""


def test_importing_and_training_with_opacus_reaches_no_other_machine() -> None:
    result, attempts = run_guarded([sys.executable, "-c", TRAIN_BOTH])
    assert result.returncode == 0, result.stderr
    assert attempts == []
    assert "Warning" not in result.stderr

    report = "import socket; socket.getaddrinfo('opacus.example', 443)"
    _, attempts = run_guarded([sys.executable, "-c", report])
    assert [attempt.target for attempt in attempts] == ["opacus.example"]
