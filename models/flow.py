"""Flow matching: straight paths from poses to noise, the velocity along them, and the samplers that follow it back.

x_t = (1 - t) x_0 + t eps for t from 0 (data) to 1 (noise), whose velocity is dx/dt = eps - x_0 (Lipman et al. 2023; Liu
et al. 2023). The network learns E[eps - x_0 | x_t], and a sampler integrates it from t = 1 to t = 0.
"""

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from models.diffusion import GaussianDiffusion
from models.samplers import Chain
from utils.randomness import FrameDraws, StepDraws


class FlowMatching(GaussianDiffusion):
    """Flow matching with the denoiser, the condition and the state dict of :class:`GaussianDiffusion`.

    The denoiser's step input is ``timesteps`` times t, the scale that it has in diffusion. ``time``: how t is drawn in
    training, uniform or logit_normal (Esser et al. 2024), which prefers the middle. The schedule's buffers stay in the
    state dict, so that files are alike, and are not used.
    """

    def __init__(self, *, time: str = "uniform", **options):
        super().__init__(**options)
        self.time = time

    def draw_times(self, draws: StepDraws) -> Tensor:
        """t in (0, 1) for each item of a batch, (B,)."""
        if self.time == "logit_normal":
            return draws.normal("timestep").sigmoid()
        return draws.uniform("timestep")

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = (1 - t) x_0 + t eps; all (R, P), t (R,)."""
        return (1 - t[:, None]) * x_start + t[:, None] * noise

    def losses(self, x_start: Tensor, t: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """Distance between the network's and the path's velocity, (R,); arguments as for diffusion, t in [0, 1]."""
        velocity = self.denoise_fn(self.q_sample(x_start, t, noise), self.timesteps * t, condition).float()
        distance = F.l1_loss if self.loss_type == "l1" else F.mse_loss
        return distance(velocity, noise - x_start, reduction="none").mean(dim=-1)

    def zero_noise_start(self, draws: FrameDraws) -> Tensor:
        """The zero-noise estimate of B frames begins where the noise is zero, (B, 1, P)."""
        return torch.zeros(len(draws.frames), 1, self.pose_dim, device=draws.device)


# --- samplers


class Euler:
    """x_s = x_t + (s - t) v(x_t, t): order 1, one network call a step.

    ``steps``: network calls, 0 for as many as the model has steps. The samplers of order 2 need two calls for a step;
    of an odd number of calls the last one makes an Euler step.
    """

    calls_per_step = 1
    noises = 0

    def __init__(self, model: FlowMatching, *, steps: int = 0):
        self.timesteps = model.timesteps
        calls = steps or model.timesteps
        count = -(-calls // self.calls_per_step)
        times = torch.linspace(1, 0, count + 1, dtype=torch.float64).tolist()
        self.pairs = list(itertools.pairwise(times))
        self.ends_with_one_call = calls % self.calls_per_step == 1

    def velocity(self, chain: Chain, x: Tensor, t: float) -> Tensor:
        """The network's dx/dt, (F, H, P)."""
        return chain.network(x, self.timesteps * t)

    def step(self, chain: Chain, t: float, s: float) -> Tensor:
        return chain.x + (s - t) * self.velocity(chain, chain.x, t)


class Midpoint(Euler):
    """x_s = x_t + (s - t) v(x_m, m) with m = (t + s) / 2 and x_m by an Euler step of half the length: order 2."""

    calls_per_step = 2

    def step(self, chain: Chain, t: float, s: float) -> Tensor:
        if s == 0 and self.ends_with_one_call:
            return super().step(chain, t, s)
        middle = super().step(chain, t, (t + s) / 2)
        return chain.x + (s - t) * self.velocity(chain, middle, (t + s) / 2)


class Heun(Euler):
    """x_s = x_t + (s - t) (v(x_t, t) + v(x_e, s)) / 2 with x_e by an Euler step: order 2."""

    calls_per_step = 2

    def step(self, chain: Chain, t: float, s: float) -> Tensor:
        if s == 0 and self.ends_with_one_call:
            return super().step(chain, t, s)
        here = self.velocity(chain, chain.x, t)
        there = self.velocity(chain, chain.x + (s - t) * here, s)
        return chain.x + (s - t) * (here + there) / 2
