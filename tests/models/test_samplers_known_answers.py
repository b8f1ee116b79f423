"""Samplers on Gaussian data, where the best denoiser and every variance are known in closed form."""

import functools
import math

import pytest
import torch

from models import build_model, build_sampler
from models.samplers import Ancestral, Chain, Ddim, DpmSolver, PoseSampler, run_chain
from tests.models.test_samplers import VARIANTS, build, close
from tests.support.helpers import deterministic_weights
from utils.config import Config, change_config, parse_config
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")


@functools.cache
def diffusion(timesteps=25):
    section = {"DIFFUSION_OBJECTIVE": "pred_x0", "TIMESTEPS": timesteps}
    return build_model(parse_config({"MODEL": section, "TRAIN": {"SCALE_3D_POSE": 10}}))


def deviation(sampler, data=1.0) -> float:
    """Standard deviation of what comes out for data N(0, data^2), exactly.

    The chain is linear in its start and its noises: one row of x for each of them, set to 1, gives all coefficients.
    """
    rows = torch.eye(1 + sampler.noises)

    def network(x, t):
        alpha, sigma = sampler.alpha[t], sampler.sigma[t]
        return alpha * data**2 / (alpha**2 * data**2 + sigma**2) * x

    noises = iter(rows[1:])
    chain = Chain(
        rows[0].view(1, -1, 1),
        network,
        lambda d: d * next(noises).view(1, -1, 1) if d else 0.0,
    )
    return float(run_chain(sampler, chain).norm())


def textbook_deviation(model, variance: str) -> float:
    """The ancestral chain's variance recursion for unit data in float64, from the betas."""
    betas = model.betas.double()
    abar = torch.cumprod(1 - betas, 0)
    total = 1.0
    for t in reversed(range(len(betas))):
        before = float(abar[t - 1]) if t else 1.0
        beta, now = float(betas[t]), float(abar[t])
        factor = (beta * math.sqrt(before) * math.sqrt(now) + (1 - before) * math.sqrt(1 - beta)) / (1 - now)
        noise = {"posterior": beta * (1 - before) / (1 - now), "upper": beta}
        noise["optimal"] = noise["posterior"] + (beta * math.sqrt(before) / (1 - now)) ** 2 * (1 - now)
        total = factor**2 * total + (noise[variance] if t or variance == "optimal" else 0.0)
    return math.sqrt(total)


@pytest.mark.parametrize(("variance", "known"), [("posterior", 0.918), ("upper", 0.997), ("optimal", 1.0)])
def test_ancestral_has_its_own_spread(variance, known):
    model = diffusion()
    sampler = Ancestral(model, variance=variance, start_variance=model.sqrt_one_minus_alphas_cumprod**2)
    found = deviation(sampler)
    assert found == pytest.approx(textbook_deviation(model, variance), abs=1e-4)
    assert found == pytest.approx(known, abs=1e-3)


@pytest.mark.parametrize(("steps", "known"), [(25, 0.952), (10, 0.877), (5, 0.749), (3, 0.536)])
def test_ddim_has_its_own_spread(steps, known):
    """For unit data a step multiplies by alpha_s alpha_t + sigma_s sigma_t (Song et al. 2021, eq. 12 with eta 0)."""
    sampler = Ddim(diffusion(), steps=steps)
    alpha, sigma = sampler.alpha, sampler.sigma
    product = math.prod(alpha[s] * alpha[t] + sigma[s] * sigma[t] for t, s in sampler.pairs)
    assert deviation(sampler) == pytest.approx(product, abs=1e-5)
    assert product == pytest.approx(known, abs=1e-3)


@pytest.mark.parametrize(("variance", "known"), [("posterior", 0.91), ("upper", 0.94), ("optimal", 1.0)])
def test_ancestral_spread_at_the_scale_of_poses(variance, known):
    model, data = diffusion(), 2.75
    alpha, sigma = model.sqrt_alphas_cumprod, model.sqrt_one_minus_alphas_cumprod
    uncertain = (data * sigma) ** 2 / ((alpha * data) ** 2 + sigma**2)
    sampler = Ancestral(model, variance=variance, start_variance=uncertain)
    assert deviation(sampler, data) / data == pytest.approx(known, abs=6e-3)


@pytest.mark.parametrize("steps", [3, 5, 10])
def test_optimal_variance_is_right_for_few_steps_too(steps):
    model = diffusion()
    sampler = Ancestral(model, steps=steps, variance="optimal", start_variance=model.sqrt_one_minus_alphas_cumprod**2)
    assert deviation(sampler) == pytest.approx(1.0, abs=1e-3)


SAMPLERS = {
    "ancestral": lambda model, steps: Ancestral(model, steps=steps),
    "upper": lambda model, steps: Ancestral(model, steps=steps, variance="upper"),
    "ddim": lambda model, steps: Ddim(model, steps=steps),
    "ddim, eta 0.5": lambda model, steps: Ddim(model, steps=steps, eta=0.5),
    "dpm_solver": lambda model, steps: DpmSolver(model, steps=steps),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_converges_to_the_data(name):
    model = diffusion(1000)
    errors = [abs(1 - deviation(SAMPLERS[name](model, steps), data=2.0) / 2) for steps in (20, 100, 500)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


def test_second_order_gets_there_sooner():
    model = diffusion(1000)
    first, second = (abs(1 - deviation(kind(model, steps=20), data=2.0) / 2) for kind in (Ddim, DpmSolver))
    assert second < first / 2


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 4, 25])
def test_every_sampler_keeps_the_mean(name, steps):
    """Data N(mean, 1): without noise the path from 0 ends at the mean."""
    sampler, mean = SAMPLERS[name](diffusion(), steps), 3.0

    def network(x, t):
        return mean + sampler.alpha[t] * (x - sampler.alpha[t] * mean)

    end = run_chain(sampler, Chain(torch.zeros(1, 1, 1), network, lambda d: 0.0))
    assert float(end) == pytest.approx(mean, rel=3e-3)


def test_steps_are_spread_over_all_of_them():
    model = diffusion()
    assert Ddim(model, steps=5).pairs == [(24, 18), (18, 12), (12, 6), (6, 0), (0, -1)]
    assert Ancestral(model).pairs == [(t, t - 1) for t in reversed(range(25))]
    assert DpmSolver(model, steps=1).pairs == [(24, -1)]


def test_posterior_between_distant_steps_is_the_published_one_between_neighbours():
    model = diffusion()
    for t in (1, 7, 24):
        near = model.posterior(t, t - 1)
        abar, before = float(model.alphas_cumprod[t]), float(model.alphas_cumprod[t - 1])
        beta = 1 - abar / before
        variance = beta * (1 - before) / (1 - abar)
        assert near[2] == pytest.approx(math.sqrt(variance), rel=1e-4)
    # q(x_s | x_t, x_0) in one step has the mean of two steps in a row.
    t, m, s = 20, 19, 18
    a1, b1, d1 = model.posterior(t, m)
    a2, b2, d2 = model.posterior(m, s)
    a, b, d = model.posterior(t, s)
    assert (a, b) == pytest.approx((a2 + b2 * a1, b2 * b1), rel=1e-4)
    assert d == pytest.approx(math.hypot(d2, b2 * d1), rel=1e-4)


# --- on networks


FRAMES = [3, 14]
MAPS = torch.rand(2, 16, 64, 64, generator=torch.Generator().manual_seed(0)) ** 8


def sample(model, *settings, hypotheses=6):
    config = change_config(Config(), [f"MODEL.TIMESTEPS={model.timesteps}", *MAIN, *settings])
    return build_sampler(model, config, num_hypotheses=hypotheses)(MAPS, FrameDraws(5, FRAMES))


MAIN = ("MODEL.CONDITION_TYPE=embedded_poseformer", "MODEL.CONDITION_KEY=heatmaps", "MODEL.EXTRA.SAMPLEABLE=true")


@pytest.mark.parametrize("variant", ["main", "pred_noise"])
def test_ddim_with_eta_one_is_the_ancestral_chain_draw_for_draw(variant):
    model = build(**VARIANTS[variant])
    ancestral, ddim = sample(model), sample(model, "TEST.SAMPLER=ddim", "TEST.ETA=1")
    close(ddim.hypotheses_mm, ancestral.hypotheses_mm, 1e-5)
    assert torch.equal(ddim.zero_noise_mm, ancestral.zero_noise_mm), "the published estimate, whatever the sampler"
    other = sample(model, "TEST.SAMPLER=ddim", "TEST.ETA=0.5")
    assert float((other.hypotheses_mm - ancestral.hypotheses_mm).abs().max()) > 1


@torch.no_grad()
@pytest.mark.parametrize("noise_scale", [1.0, 0.9])
def test_published_chain_to_the_last_bit(noise_scale):
    """The loop that the default stands for, with its numbers in float32 as they were published."""
    model = build(NOISE_SCALE=noise_scale)
    draws = FrameDraws(5, FRAMES)
    candidates = model.draw_condition_input(MAPS, 6, draws)
    conditions = model.condition(candidates).unflatten(0, (2, 6))
    x = noise_scale * draws.normal("initial_noise", 6, 48)
    noises = draws.normals("step_noise", 4, 6, 48)
    for t in reversed(range(5)):
        start = model.predict_start(x, t, model.denoise(x, t, conditions))
        x = model.posterior_mean(start, x, t)
        if t > 0:
            x += noise_scale * model.posterior_deviation(t) * next(noises)
    sampler = PoseSampler(model, num_hypotheses=6)
    assert torch.equal(sampler(MAPS, draws).hypotheses_mm, sampler.to_poses_mm(x))


@pytest.mark.parametrize("settings", [(), ("TEST.SAMPLER=ddim", "TEST.STEPS=3"), ("TEST.VARIANCE=upper",)])
def test_hypotheses_share_condition_sets(settings):
    """With as many sets as hypotheses nothing changes; with fewer, hypothesis h takes set h mod M."""
    model = build()
    assert torch.equal(
        sample(model, *settings).hypotheses_mm, sample(model, "TEST.CONDITION_SETS=6", *settings).hypotheses_mm
    )
    model.noise_scale = 0.0  # now only the sets tell hypotheses apart
    poses = sample(model, "TEST.CONDITION_SETS=2", *settings).hypotheses_mm
    close(poses[:, 2:4], poses[:, :2], 1e-5)
    close(poses[:, 4:], poses[:, :2], 1e-5)
    assert float((poses[:, 0] - poses[:, 1]).abs().max()) > 1
    single = sample(model, "TEST.CONDITION_SETS=1", *settings).hypotheses_mm
    close(single, single[:, :1].expand_as(single), 1e-5)


def test_noise_scale_multiplies_starts_and_steps():
    quiet = build(NOISE_SCALE=0.0, EXTRA={"SAMPLEABLE": False})
    spread = sample(deterministic_weights(quiet), "MODEL.EXTRA.SAMPLEABLE=false", "TEST.VARIANCE=upper")
    assert float(spread.hypotheses_mm.std(dim=1).max()) < 1e-3
