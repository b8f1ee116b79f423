"""Noise schedules, the forward process and the loss."""

import math

import pytest
import torch

from models import build_model
from models.schedules import cosine_betas
from utils.config import parse_config
from utils.randomness import StepDraws


def build(objective="pred_noise", loss="l2", timesteps=25, **train):
    return build_model(
        parse_config(
            {
                "MODEL": {
                    "CONDITION_TYPE": "pose_2d",
                    "CONDITION_DIM": 32,
                    "TIMESTEPS": timesteps,
                    "DIFFUSION_OBJECTIVE": objective,
                },
                "LOSS": {"LOSS_TYPE": loss},
                "TRAIN": {"SCALE_3D_POSE": 10} | train,
            }
        )
    )


def test_cosine_schedule_follows_its_formula():
    betas = cosine_betas(25, offset=0.008)

    def abar(u):
        return math.cos((u / 25 + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0, 7, 23):
        assert float(betas[t]) == pytest.approx(1 - abar(t + 1) / abar(t), rel=1e-12)
    assert float(betas[24]) == 0.999
    assert not torch.allclose(betas, cosine_betas(25, offset=0.1))


def test_noising_keeps_the_variance_of_unit_data():
    model = build()
    x = torch.randn(20_000, 48, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(20_000, 48, generator=torch.Generator().manual_seed(1))
    for t in (0, 12, 24):
        noised = model.q_sample(x, torch.full((20_000,), t), noise)
        assert float(noised.var()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("t", [0, 5, 12, 20])
def test_start_deviation_gives_the_posterior_mean_of_gaussian_poses(t):
    """x_0 = m + s e: no estimate from m and x_t is better, and its variance is that of the posterior."""
    model = build("pred_x0")
    model.start_deviation = deviation = 0.6
    generator = torch.Generator().manual_seed(t)
    mean = torch.full((4_000, 48), 1.7)
    x_start = mean + deviation * torch.randn(mean.shape, generator=generator)
    noise = torch.randn(mean.shape, generator=generator)
    steps = torch.full((len(mean),), t)
    noised = model.q_sample(x_start, steps, noise)
    error = model.predict_start(noised, t, mean) - x_start
    abar = float(model.alphas_cumprod[t])
    expected = 1 / (1 / deviation**2 + abar / (1 - abar))
    assert float(error.var()) == pytest.approx(expected, rel=0.02)
    assert abs(float((error * noised).mean() - error.mean() * noised.mean())) < 0.01
    model.denoise_fn.forward = lambda x, t, condition: mean
    assert float(model.losses(x_start, steps, noise, None).mean()) == pytest.approx(expected, rel=0.02)
    model.start_deviation = 0.0
    assert torch.equal(model.predict_start(noised, t, mean), mean)


@pytest.mark.parametrize("t", [0, 5, 20])
def test_start_is_recovered_from_the_true_noise(t):
    model = build()
    x = torch.randn(4, 48, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4, 48, generator=torch.Generator().manual_seed(1))
    noised = model.q_sample(x, torch.full((4,), t), noise)
    torch.testing.assert_close(model.predict_start(noised, t, noise), x, rtol=1e-3, atol=1e-3)


def test_start_is_clamped_to_three_metres():
    model = build(objective="pred_x0")
    assert float(model.predict_start(torch.zeros(1, 48), 3, torch.full((1, 48), 1e6)).max()) == 30.0


def test_posterior_at_the_first_step_is_the_start():
    model = build()
    x, start = torch.randn(2, 48), torch.randn(2, 48)
    torch.testing.assert_close(model.posterior_mean(start, x, 0), start, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("objective", ["pred_noise", "pred_x0"])
@pytest.mark.parametrize(("loss", "of_constant"), [("l1", 3.0), ("l2", 9.0)])
def test_loss_of_a_constant_error(objective, loss, of_constant, monkeypatch):
    model = build(objective, loss)
    start, noise = torch.randn(6, 48), torch.randn(6, 48)
    wanted = noise if objective == "pred_noise" else start
    monkeypatch.setattr(model.denoise_fn, "forward", lambda x, t, condition: wanted + 3)
    losses = model.losses(start, torch.arange(6), noise, torch.zeros(6, 32))
    torch.testing.assert_close(losses, torch.full((6,), of_constant), rtol=1e-5, atol=1e-5)


def test_training_target_is_in_scaled_units(monkeypatch):
    model = build()
    seen = {}
    monkeypatch.setattr(model, "losses", lambda start, t, noise, condition: seen.update(start=start, t=t) or start)
    target = torch.randn(3, 16, 3)
    model.loss(target, torch.zeros(3, 32), StepDraws(0, 0, global_batch=3))
    torch.testing.assert_close(seen["start"].view(3, 3, 16).transpose(1, 2), target * 10)


def test_steps_are_drawn_uniformly_over_all_of_them():
    draws = StepDraws(0, 0, global_batch=50_000)
    counts = torch.bincount(draws.integers("timestep", 25), minlength=25)
    assert len(counts) == 25
    assert float(counts.min()) > 1800


def test_step_draws_of_parts_are_those_of_the_whole():
    whole = StepDraws(1, 7, global_batch=8)
    part = StepDraws(1, 7, global_batch=8, part=slice(4, 8))
    assert torch.equal(whole.normal("noise", 3)[4:], part.normal("noise", 3))
    assert torch.equal(whole.uniform("u", 2, 2)[4:], part.uniform("u", 2, 2))
    assert torch.equal(whole.integers("t", 9)[4:], part.integers("t", 9))
    assert not torch.equal(whole.normal("noise", 3), StepDraws(1, 8, global_batch=8).normal("noise", 3))
    assert not torch.equal(whole.normal("noise", 3), whole.normal("other", 3))


@pytest.mark.parametrize("timesteps", [25, 1000])
def test_gradients_reach_the_whole_denoiser(timesteps):
    model = build(timesteps=timesteps)
    model.loss(torch.randn(8, 16, 3), torch.randn(8, 32), StepDraws(0, 0, global_batch=8)).backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert all(".bn" in name for name in silent)
    assert len(silent) == 8
