"""Trainer `opacus-event`: one watched title moves what leaves by a bounded amount, under noise on everything."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from opacus.optimizers import DPOptimizerFastGradientClipping
from torch import nn

from backrow.client.answers import answer_device
from backrow.client.history import RawHistory
from backrow.client.training import opacus_event
from backrow.client.training.base import TrainingCall
from backrow.client.training.opacus_common import one_quiet_thread, torch_generator
from backrow.client.training.opacus_event import OpacusEventTrainer
from backrow.privacy.accounting.event_level import EventSettings
from backrow.privacy.quantise import Rounding
from backrow.privacy.randomness import SeededRandom
from backrow.privacy.wire import RoundCall
from tests.builders import gradient_call, histories

TITLES, COLUMNS, ALPHA0, RIDGE = 40, 5, 0.4, 0.1
BLOCK = histories(9, TITLES)


def call(device_clip: float = 1e9, **event: float) -> TrainingCall:
    numbers = {"noise_multiplier": 0.0, "clip_norm": 0.5, "epochs": 3.0, "batch": 128.0, "learning_rate": 1.0, **event}
    made = gradient_call(TITLES, COLUMNS, clip_norm=device_clip, scale=1.0)
    settings = {**made.settings, **{f"event_{name}": value for name, value in numbers.items()}}
    return TrainingCall(made.plan, made.tensors, settings)


def answers(made: TrainingCall, block: list[RawHistory] = BLOCK, seed: int = 1) -> np.ndarray:
    return OpacusEventTrainer().answer(made, block, SeededRandom(seed)).values


def by_hand(factors: np.ndarray, titles: np.ndarray, settings: EventSettings) -> np.ndarray:
    """The module's docstring, event by event, for batches that hold every event."""
    v, p = factors.copy(), np.zeros(factors.shape[1])
    largest = np.linalg.eigvalsh(factors.T @ factors)[-1]
    curvature = ALPHA0 * largest + RIDGE + settings.history * np.square(factors).sum(axis=1).max()
    step = settings.learning_rate / curvature
    for _ in range(settings.steps):
        to_v, to_p = np.zeros_like(v), np.zeros_like(p)
        for title in titles:
            error = (ALPHA0 + 1) * (v[title] @ p - 1) - ALPHA0 * (v[title] @ p)
            one_v, one_p = error * p, error * v[title]
            kept = min(1, settings.clip_norm / (np.sqrt(one_v @ one_v + one_p @ one_p) + 1e-6))
            to_v[title] += kept * one_v
            to_p += kept * one_p
        scores = v @ p
        to_v += ALPHA0 * np.outer(scores, p)
        to_p += ALPHA0 * v.T @ scores + RIDGE * p
        v, p = v - step * to_v, p - step * to_p
    return (factors - v) / (step * settings.steps)


@pytest.mark.parametrize("clip_norm", [0.05, 0.5, 1e3])
def test_without_noise_the_answer_is_clipped_descent_event_by_event(clip_norm: float) -> None:
    made = call(clip_norm=clip_norm)
    settings = EventSettings.read(made.settings)
    assert settings.steps == 3
    computed = answers(made)
    for device, history in enumerate(BLOCK):
        expected = by_hand(np.asarray(made.tensors["factors"]), history.titles, settings)
        np.testing.assert_allclose(computed[device], expected, rtol=1e-9, atol=1e-12)
    assert np.linalg.norm(computed[1]) > 0


def test_no_weight_of_a_title_is_read_only_that_it_was_watched() -> None:
    heavier = [RawHistory(history.titles, 3 * history.weights) for history in BLOCK]
    made = call(noise_multiplier=1.0)
    assert np.array_equal(answers(made), answers(made, heavier))


def one_step(
    titles: list[int], clip_norm: float, seed: int, noise_multiplier: float = 0.0, start: float = 1.0
) -> np.ndarray:
    """What one step from p of about `start` moves, V and p together, in the gradient's unit."""
    made = call(clip_norm=clip_norm, noise_multiplier=noise_multiplier, epochs=1.0)
    factors, history = np.asarray(made.tensors["factors"]), RawHistory(np.array(titles, np.int32), np.ones(len(titles)))
    settings, generator = EventSettings.read(made.settings), torch_generator(SeededRandom(seed))
    training = opacus_event._LocalTraining(factors, [history], settings, ALPHA0, RIDGE, generator)
    users = training._models.users.weight
    before = start * torch.tensor(np.random.default_rng(seed).normal(size=(1, COLUMNS)))
    with one_quiet_thread():
        users.detach().copy_(before)
        moved_v = training.run()[0]
    moved_p = (before - users.detach()).numpy() / training._step_size
    return np.concatenate([moved_v.ravel(), moved_p.ravel()])


@pytest.mark.parametrize("seed", range(5))
def test_one_watched_title_moves_a_step_by_at_most_the_clip_norm(seed: int) -> None:
    clip_norm, watched = 0.5, [2, 3, 11, 17, 39]
    for added in (0, 8, 38):
        moved = one_step(sorted([*watched, added]), clip_norm, seed) - one_step(watched, clip_norm, seed)
        assert np.linalg.norm(moved) <= clip_norm
        assert np.linalg.norm(moved) > 0.9 * clip_norm, "these events are clipped"
        unclipped = one_step(sorted([*watched, added]), 1e6, seed) - one_step(watched, 1e6, seed)
        assert np.linalg.norm(unclipped) > clip_norm, "without clipping the bound does not hold"


def deviates(values: np.ndarray, sd: float) -> bool:
    """Whether the mean square of Gaussian values contradicts `sd`; false alarm once in 10^6."""
    freedom = values.size
    cut = NormalDist().inv_cdf(1 - 0.5e-6)
    # Wilson and Hilferty: the cube root of chi square / freedom is close to normal.
    score = (np.mean((values / sd) ** 2) ** (1 / 3) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))
    return bool(abs(score) > cut)


@pytest.mark.parametrize("batch", [128.0, 32.0])
def test_noise_covers_every_title_and_column_of_every_device(batch: float) -> None:
    """In the first step p is zero, so V moves by noise alone. False alarm: 10^-6 and, per coordinate, 2 x 10^-5."""
    made = call(noise_multiplier=2.0, batch=batch, epochs=batch / 128)
    assert EventSettings.read(made.settings).steps == 1
    drawn = np.concatenate([answers(made, seed=seed) for seed in range(60)])
    sd = 2.0 * 0.5 * 128 / batch
    assert not deviates(drawn, sd)
    assert deviates(drawn, 0.97 * sd)
    by_coordinate = np.sqrt(np.mean(drawn**2, axis=0)) / sd
    assert 0.82 < by_coordinate.min() < by_coordinate.max() < 1.18, "every coordinate, not the watched ones only"


def test_noise_covers_the_devices_own_factors() -> None:
    """An empty history's first step moves p by noise alone. False alarm: 10^-6."""
    drawn = np.stack([one_step([], 0.5, seed, noise_multiplier=2.0, start=0.0)[-COLUMNS:] for seed in range(120)])
    assert not deviates(drawn, 1.0)
    assert deviates(drawn, 0.8)


def test_an_empty_history_answers_noise_like_any_other() -> None:
    assert len(BLOCK[0]) == 0
    made = call(noise_multiplier=2.0, epochs=1.0)
    drawn = np.stack([answers(made, BLOCK[:1], seed)[0] for seed in range(40)])
    assert not deviates(drawn, 1.0)


def test_devices_and_steps_share_no_noise() -> None:
    made = call(noise_multiplier=2.0, epochs=1.0)
    drawn = np.stack([answers(made, seed=seed) for seed in range(10)])
    by_device = drawn.transpose(1, 0, 2, 3).reshape(len(BLOCK), -1)
    correlation = np.corrcoef(by_device) - np.eye(len(BLOCK))
    assert np.abs(correlation).max() < 6 / np.sqrt(by_device.shape[1])
    # Four steps so short that nothing moves but by noise: if they shared it, their mean would not shrink.
    still = np.stack([answers(call(noise_multiplier=2.0, epochs=4.0, learning_rate=1e-6), seed=n) for n in range(10)])
    assert not deviates(still[:, 0], 0.5)
    assert deviates(still[:, 0], 1.0)


def batches(block: list[RawHistory], monkeypatch: pytest.MonkeyPatch, **event: float) -> list[int]:
    """Sizes of the batches that reach the model; padding not counted."""
    sizes: list[int] = []
    forward = opacus_event._LocalModels.forward

    def spy(self: opacus_event._LocalModels, rows: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        sizes.append(len(rows) - 1)
        return forward(self, rows, owners)

    with monkeypatch.context() as patched:
        patched.setattr(opacus_event._LocalModels, "forward", spy)
        answers(call(**event), block)
    return sizes


def history_of(length: int) -> RawHistory:
    return RawHistory(np.arange(length, dtype=np.int32), np.ones(length))


def test_the_number_of_steps_does_not_depend_on_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    for length in (0, 1, 40):
        assert len(batches([history_of(length)], monkeypatch, batch=32.0, epochs=2.0)) == 8


def test_every_event_is_sampled_at_the_public_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 events, rate 1/4, 400 steps. False alarm: 2 exp(-2 t^2 n) < 10^-6 at t = .0213 (Hoeffding)."""
    sizes = np.array(batches([history_of(40)], monkeypatch, batch=32.0, epochs=100.0))
    assert len(sizes) == 400
    assert abs(sizes.mean() / 40 - 0.25) < 0.0213
    assert abs(sizes.mean() / 40 - 0.3) > 0.0213
    assert 20 > sizes.var() > 3, "independent events, variance 7.5, not batches of a fixed size"


def test_a_step_that_sampled_nobody_still_adds_its_noise() -> None:
    made = call(noise_multiplier=1.0, batch=0.001, epochs=0.001 / 128)
    drawn = answers(made) / (128 / 0.001)
    assert not deviates(drawn, 0.5)


def test_clipping_noise_and_step_are_opacus(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    step = DPOptimizerFastGradientClipping.step

    def spy(self: DPOptimizerFastGradientClipping) -> None:
        steps.append((self.noise_multiplier, self.max_grad_norm))
        step(self)

    monkeypatch.setattr(DPOptimizerFastGradientClipping, "step", spy)
    answers(call(noise_multiplier=3.0, clip_norm=0.25))
    assert set(steps) == {(3.0, 0.25)}
    assert len(steps) == 3, "the 9 devices share a model"
    steps.clear()
    answers(call(), [*BLOCK, *BLOCK])
    assert len(steps) == 2 * 3, "18 do not"


def test_opacus_knows_the_norms_of_its_layers_without_building_gradients() -> None:
    samplers = opacus_event.GradSampleModuleFastGradientClipping.NORM_SAMPLERS
    layers = [type(module) for module in opacus_event._LocalModels(np.zeros((4, 2)), 1).children()]
    assert layers == [nn.Embedding, nn.Embedding]
    assert set(layers) <= set(samplers)


def test_the_answer_is_clipped_per_device() -> None:
    clipped = OpacusEventTrainer().answer(call(device_clip=0.3, noise_multiplier=1.0), BLOCK, SeededRandom(1))
    norms = [float(np.linalg.norm(clipped.device(index).values)) for index in range(len(BLOCK))]
    assert max(norms) <= 0.3
    assert min(norms) > 0.299


def test_devices_trained_together_do_not_touch_each_other() -> None:
    made, many = call(), histories(33, TITLES, seed=11)
    together = answers(made, many)
    for device in (0, 1, 15, 16, 31, 32):
        np.testing.assert_allclose(answers(made, [many[device]])[0], together[device], rtol=1e-10, atol=1e-13)


def test_the_same_randomness_gives_the_same_bits_and_other_randomness_others() -> None:
    made = call(noise_multiplier=1.0, batch=32.0)
    assert np.array_equal(answers(made, seed=1), answers(made, seed=1))
    assert not np.any(answers(made, seed=1) == answers(made, seed=2))


def test_a_real_device_answers_alone_in_integers() -> None:
    made = gradient_call(TITLES, COLUMNS, rounding=Rounding.DEVICE_STOCHASTIC)
    settings = {**made.settings, **{name: value for name, value in call().settings.items() if name[:6] == "event_"}}
    asked = RoundCall(made.plan, "opacus-event", 1, (), made.tensors, settings)
    update = answer_device(asked, BLOCK[3], SeededRandom(1))
    assert update.shape == (TITLES, COLUMNS)
    assert np.any(update)


def test_a_title_outside_the_model_is_refused_and_reaches_no_neighbour() -> None:
    with pytest.raises(ValueError, match="not among the model's 40 titles"):
        answers(call(), [history_of(TITLES + 1), BLOCK[1]])


def test_missing_settings_are_named() -> None:
    made = gradient_call(TITLES, COLUMNS)
    with pytest.raises(ValueError, match="event_noise_multiplier"):
        answers(TrainingCall(made.plan, made.tensors, made.settings))
