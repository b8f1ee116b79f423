"""Samplers: the ways from noise to poses, and the one loop that they share.

A sampler is an object beside the trained network: the same weights, several ways to sample. It has ``pairs``, the
(t, s) that a chain goes through, from step t to the cleaner s, where s = -1 is the data; and ``step``, its update rule.
Those here are for Gaussian diffusion, those of flow matching are in models/flow.py; docs/samplers.md compares them.

Notation, as in the DPM-Solver papers: x_t = alpha_t x_0 + sigma_t eps with alpha_t^2 = abar_t, sigma_t^2 = 1 - abar_t.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from models.candidates import ConditionInput
from models.denoiser import unflatten_pose
from models.diffusion import GaussianDiffusion
from utils.geometry import with_root
from utils.randomness import FrameDraws

# Rows denoised at once where the configuration leaves it open: what the caches hold, or what fills a GPU.
AUTOMATIC_CHUNK = {"cpu": 800, "cuda": 65536}


# --- what a chain is, and what a sampler does with it


@dataclass
class Chain:
    """A chain on its way.

    ``x``: (F, H, P), where it is. ``network(x, t)``: the denoiser's output. ``noise(deviation)``: the deviation times
    NOISE_SCALE times fresh noise, or 0 in a chain without noise. ``before``: the step before and the x_0 that it
    predicted, kept by samplers that look back.
    """

    x: Tensor
    network: Callable[[Tensor, float], Tensor]
    noise: Callable[[float], Tensor | float]
    before: tuple[int, Tensor] | None = None


class Sampler(Protocol):
    """A way to sample. ``noises``: how many fresh noises a chain adds at most.

    t and s are step numbers (int) in diffusion and times (float) in flow matching.
    """

    pairs: Any
    noises: int

    def step(self, chain: Chain, t: Any, s: Any) -> Tensor:
        """From x_t, which the chain holds, to x_s: (F, H, P)."""


def run_chain(sampler: Sampler, chain: Chain) -> Tensor:
    """The one loop: from noise to data, (F, H, P)."""
    for t, s in sampler.pairs:
        chain.x = sampler.step(chain, t, s)
    return chain.x


# --- Gaussian diffusion


class DiffusionSampler:
    """What the samplers of a Gaussian diffusion share: K steps t = round(linspace(T - 1, 0, K)), then the data."""

    def __init__(self, model: GaussianDiffusion, *, steps: int = 0):
        self.model = model
        count = steps or model.timesteps
        times = torch.linspace(model.timesteps - 1, 0, count, dtype=torch.float64).round().long().tolist()
        self.pairs = list(zip(times, [*times[1:], -1], strict=True))
        self.noises = count - 1  # none is added to the data
        # The data itself comes last, where Python finds index -1.
        self.alpha = [*model.sqrt_alphas_cumprod.double().tolist(), 1.0]
        self.sigma = [*model.sqrt_one_minus_alphas_cumprod.double().tolist(), 0.0]

    def predict_start(self, chain: Chain, t: int) -> Tensor:
        """The network's x_0 for the chain's x_t, clamped: (F, H, P)."""
        return self.model.predict_start(chain.x, t, chain.network(chain.x, t))


class Ancestral(DiffusionSampler):
    """x_s ~ N(a x_0 + b x_t, variance), with the network's x_0 (Ho et al. 2020, algorithm 2, for any s < t).

    ``variance``: posterior, that of q(x_s | x_t, x_0), which takes x_0 as known; upper, beta; optimal, which adds the
    uncertainty a^2 Var(x_0 | x_t), in the last step as well (Bao et al. 2022, theorem 1), and needs ``start_variance``,
    (T,), in squared network units; or none, which follows the mean.
    """

    def __init__(
        self,
        model: GaussianDiffusion,
        *,
        steps: int = 0,
        variance: str = "posterior",
        start_variance: Tensor | None = None,
    ):
        super().__init__(model, steps=steps)
        self.variance = variance
        self.coefficients = {t: model.posterior(t, s) for t, s in self.pairs}
        if variance == "optimal":
            self.noises += 1
            self.start_variance = start_variance.double().tolist()

    def step(self, chain: Chain, t: int, s: int) -> Tensor:
        a, b, _ = self.coefficients[t]
        return a * self.predict_start(chain, t) + b * chain.x + chain.noise(self.deviation(t, s))

    def deviation(self, t: int, s: int) -> float:
        """Standard deviation of x_s given x_t; except for the optimal one it is 0 where x_s is the data."""
        a, _, posterior = self.coefficients[t]
        if self.variance == "optimal":
            return math.sqrt(posterior**2 + a**2 * self.start_variance[t])
        if s < 0 or self.variance == "none":
            return 0.0
        if self.variance == "upper":
            return math.sqrt(1 - (self.alpha[t] / self.alpha[s]) ** 2)  # beta of a step from s to t
        return posterior


class Ddim(DiffusionSampler):
    """Song et al. 2021, eq. 12: x_s = alpha_s x_0 + sqrt(sigma_s^2 - d^2) eps + d z, where d is ``eta`` times the
    ancestral deviation: eta 0 is deterministic, eta 1 the ancestral chain with the posterior's variance."""

    def __init__(self, model: GaussianDiffusion, *, steps: int = 0, eta: float = 0.0):
        super().__init__(model, steps=steps)
        self.eta = eta

    def step(self, chain: Chain, t: int, s: int) -> Tensor:
        alpha, sigma = self.alpha, self.sigma
        start = self.predict_start(chain, t)
        eps = (chain.x - alpha[t] * start) / sigma[t]
        deviation = self.eta * sigma[s] / sigma[t] * math.sqrt(1 - (alpha[t] / alpha[s]) ** 2)
        return alpha[s] * start + math.sqrt(sigma[s] ** 2 - deviation**2) * eps + chain.noise(deviation)


class DpmSolver(DiffusionSampler):
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): second order in lambda = log(alpha / sigma), one call a step.

    x_s = sigma_s / sigma_t x_t - alpha_s (exp(-h) - 1) D, where h = lambda_s - lambda_t and D is x_0, extrapolated
    from this step's and the one before. The first step has none before, and the last has h = inf: there D = x_0.
    """

    def step(self, chain: Chain, t: int, s: int) -> Tensor:
        alpha, sigma = self.alpha, self.sigma
        start = self.predict_start(chain, t)
        before, chain.before = chain.before, (t, start)
        if s < 0:
            return start
        h = self.log_ratio(s) - self.log_ratio(t)
        d = start
        if before is not None:
            r = (self.log_ratio(t) - self.log_ratio(before[0])) / h
            d = (1 + 1 / (2 * r)) * start - 1 / (2 * r) * before[1]
        return sigma[s] / sigma[t] * chain.x - alpha[s] * math.expm1(-h) * d

    def log_ratio(self, t: int) -> float:
        """lambda_t, half the logarithm of the signal-to-noise ratio."""
        return math.log(self.alpha[t] / self.sigma[t])


# --- from frames to poses


@dataclass(frozen=True)
class PoseSamples:
    """Poses of B frames: root-centred, mm, x right, y up, z towards the camera.

    ``hypotheses_mm``: (B, H, J, 3). ``zero_noise_mm``: (B, J, 3), the path without noise, or None.
    """

    hypotheses_mm: Tensor
    zero_noise_mm: Tensor | None


class SamplingNetwork(Protocol):
    """The two functions that sampling calls; :class:`models.diffusion.GaussianDiffusion` has them."""

    def condition(self, rows: ConditionInput) -> Tensor:
        """R rows of what a condition is made from -> (R, C), in whatever form ``denoise`` takes it."""

    def denoise(self, x: Tensor, t: float, condition: Tensor) -> Tensor:
        """The denoiser's output at step t: x_t (F, H, P), conditions (F, H or 1, C) -> (F, H, P)."""


class PoseSampler:
    """Samples H hypotheses for each frame, and the zero-noise estimate.

    ``sampler``: the way of the hypotheses, ``zero_noise_sampler``: that of the zero-noise estimate, None for none.
    Without a ``sampler`` both are the published chain: ancestral, all steps, and its mean.
    ``condition_sets``: candidate sets that the hypotheses share, 0 for one each; hypothesis h takes set h mod M.
    ``network``: what computes conditions and denoises; the model itself, or a copy of its weights that is faster:
    build_sampler in models/build.py. The chain itself is in float32 whatever the network's precision.
    ``chunk``: hypotheses denoised at once, which bounds memory and changes no number; 0 = automatic.
    """

    def __init__(
        self,
        model: GaussianDiffusion,
        *,
        num_hypotheses: int,
        sampler: Sampler | None = None,
        zero_noise_sampler: Sampler | None = None,
        network: SamplingNetwork | None = None,
        condition_sets: int = 0,
        chunk: int = 0,
    ):
        self.model = model.eval()
        self.sampler, self.zero_noise_sampler = sampler, zero_noise_sampler
        if sampler is None:
            self.sampler, self.zero_noise_sampler = Ancestral(model), Ancestral(model, variance="none")
        self.network = model if network is None else network
        self.num_hypotheses = num_hypotheses
        self.condition_sets = min(condition_sets or num_hypotheses, num_hypotheses)
        self.chunk = chunk or AUTOMATIC_CHUNK.get(model.betas.device.type, AUTOMATIC_CHUNK["cuda"])

    @torch.no_grad()
    def __call__(self, inputs: Tensor, draws: FrameDraws) -> PoseSamples:
        """Sample from heatmaps (B, 16, 64, 64), or 2D poses (B, P), with the draws of these B frames."""
        frames = max(1, self.chunk // self.num_hypotheses)
        hypotheses = torch.cat(
            [self._hypotheses(inputs[part], draws.part(part)) for part in _slices(inputs.shape[0], frames)]
        )
        zero_noise = self._zero_noise(inputs, draws) if self.zero_noise_sampler else None
        return PoseSamples(hypotheses_mm=hypotheses, zero_noise_mm=zero_noise)

    def _hypotheses(self, inputs: Tensor, draws: FrameDraws, count: int | None = None) -> Tensor:
        """H hypotheses of each of F frames (``count``, if not all), (F, H, J, 3) mm."""
        model, count = self.model, count or self.num_hypotheses
        conditions = self._conditions(model.draw_condition_input(inputs, min(self.condition_sets, count), draws))
        if 1 < conditions.shape[1] < count:
            conditions = conditions[:, torch.arange(count, device=conditions.device) % conditions.shape[1]]
        x = model.noise_scale * draws.normal("initial_noise", count, model.pose_dim)  # (F, H, P)
        noises = draws.normals("step_noise", self.sampler.noises, *x.shape[1:])
        return self.to_poses_mm(self._run(self.sampler, x, conditions, noises))

    def _zero_noise(self, inputs: Tensor, draws: FrameDraws) -> Tensor:
        """The path without noise from one start and one candidate set, (B, J, 3) mm."""
        model = self.model
        candidates = model.draw_condition_input(inputs, 1, draws, purpose="zero_noise_candidates")
        conditions = self._conditions(candidates)  # (B, 1, C)
        x = model.zero_noise_start(draws)  # (B, 1, P)
        return self.to_poses_mm(self._run(self.zero_noise_sampler, x, conditions))[:, 0]

    def _conditions(self, condition_input: ConditionInput) -> Tensor:
        """What the network makes of F frames' conditions, (F, M, C), or (F, 1, C) where the hypotheses share one."""
        rows = condition_input.rows()
        conditions = torch.cat([self.network.condition(rows[part]) for part in _slices(len(rows), self.chunk)])
        return conditions.unflatten(0, (len(condition_input), -1))

    def _run(self, sampler: Sampler, x: Tensor, conditions: Tensor, noises: Iterator[Tensor] | None = None) -> Tensor:
        """A chain from x (F, H, P) under conditions (F, H or 1, C); without ``noises`` nothing is added on the way."""

        def network(x: Tensor, t: float) -> Tensor:
            outputs = [
                self.network.denoise(x[:, part], t, conditions[:, part] if conditions.shape[1] > 1 else conditions)
                for part in _slices(x.shape[1], max(1, self.chunk // x.shape[0]))
            ]
            return torch.cat(outputs, dim=1)

        def noise(deviation: float) -> Tensor | float:
            if noises is None or not deviation:
                return 0.0
            factor = self.model.noise_scale * torch.tensor(deviation)  # rounded to float32, as published
            return factor * next(noises)

        return run_chain(sampler, Chain(x, network, noise))

    def to_poses_mm(self, x: Tensor) -> Tensor:
        """Network units (..., 3 J') -> root-centred poses (..., J, 3) in mm."""
        return with_root(unflatten_pose(x) / self.model.pose_scale, self.model.skeleton) * 1000


def _slices(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))
