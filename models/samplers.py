"""Samplers: a trained diffusion model and its conditions -> 3D pose hypotheses in millimetres."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from models.candidates import ConditionInput
from models.denoiser import unflatten_pose
from models.diffusion import GaussianDiffusion
from utils.geometry import with_root
from utils.randomness import FrameDraws

# Rows denoised at once where the configuration leaves it open: what the caches hold, or what fills a GPU.
AUTOMATIC_CHUNK = {"cpu": 800, "cuda": 65536}


@dataclass(frozen=True)
class PoseSamples:
    """Poses of B frames: root-centred, mm, x right, y up, z towards the camera.

    ``hypotheses_mm``: (B, H, J, 3). ``zero_noise_mm``: (B, J, 3), the posterior mean's path from one random start, or
    None.
    """

    hypotheses_mm: Tensor
    zero_noise_mm: Tensor | None


class SamplingNetwork(Protocol):
    """The two functions that a sampler calls; :class:`models.diffusion.GaussianDiffusion` has them."""

    def condition(self, rows: ConditionInput) -> Tensor:
        """R rows of what a condition is made from -> (R, C), in whatever form ``denoise`` takes it."""

    def denoise(self, x: Tensor, t: int, condition: Tensor) -> Tensor:
        """The denoiser's output at step t: x_t (F, H, P), conditions (F, H or 1, C) -> (F, H, P)."""


class PoseSampler:
    """Ancestral sampling (Ho et al. 2020, algorithm 2) of H hypotheses for each frame, and the zero-noise estimate.

    ``network``: what computes conditions and denoises; the model itself, or a copy of its weights that is faster:
    build_sampler in models/build.py. The chain itself is in float32 whatever the network's precision.
    ``chunk``: hypotheses denoised at once, which bounds memory and changes no number; 0 = automatic.
    """

    def __init__(
        self,
        model: GaussianDiffusion,
        *,
        num_hypotheses: int,
        network: SamplingNetwork | None = None,
        chunk: int = 0,
        zero_noise: bool = True,
    ):
        self.model = model.eval()
        self.network = model if network is None else network
        self.num_hypotheses = num_hypotheses
        self.zero_noise = zero_noise
        self.chunk = chunk or AUTOMATIC_CHUNK.get(model.betas.device.type, AUTOMATIC_CHUNK["cuda"])

    @torch.no_grad()
    def __call__(self, inputs: Tensor, draws: FrameDraws) -> PoseSamples:
        """Sample from heatmaps (B, 16, 64, 64), or 2D poses (B, P), with the draws of these B frames."""
        frames = max(1, self.chunk // self.num_hypotheses)
        hypotheses = torch.cat(
            [self._hypotheses(inputs[part], draws.part(part)) for part in _slices(inputs.shape[0], frames)]
        )
        zero_noise = self._zero_noise(inputs, draws) if self.zero_noise else None
        return PoseSamples(hypotheses_mm=hypotheses, zero_noise_mm=zero_noise)

    def _hypotheses(self, inputs: Tensor, draws: FrameDraws) -> Tensor:
        """H hypotheses of each of F frames, (F, H, J, 3) mm, by the ancestral chain."""
        model, count = self.model, self.num_hypotheses
        conditions = self._conditions(model.draw_condition_input(inputs, count, draws))  # (F, H or 1, C)
        x = model.noise_scale * draws.normal("initial_noise", count, model.pose_dim)  # (F, H, P)
        noises = draws.normals("step_noise", model.timesteps - 1, *x.shape[1:])
        for t in reversed(range(model.timesteps)):
            x = self._mean_step(x, t, conditions)
            if t > 0:
                x += model.noise_scale * model.posterior_deviation(t) * next(noises)
        return self.to_poses_mm(x)

    def _zero_noise(self, inputs: Tensor, draws: FrameDraws) -> Tensor:
        """The posterior mean's path from one random start and one candidate set, (B, J, 3) mm."""
        model = self.model
        candidates = model.draw_condition_input(inputs, 1, draws, purpose="zero_noise_candidates")
        conditions = self._conditions(candidates)  # (B, 1, C)
        x = model.noise_scale * draws.normal("zero_noise_initial_noise", 1, model.pose_dim)  # (B, 1, P)
        for t in reversed(range(model.timesteps)):
            x = self._mean_step(x, t, conditions)
        return self.to_poses_mm(x)[:, 0]

    def _conditions(self, condition_input: ConditionInput) -> Tensor:
        """What the network makes of F frames' conditions, (F, H, C), or (F, 1, C) where the hypotheses share one."""
        rows = condition_input.rows()
        conditions = torch.cat([self.network.condition(rows[part]) for part in _slices(len(rows), self.chunk)])
        return conditions.unflatten(0, (len(condition_input), -1))

    def _mean_step(self, x: Tensor, t: int, conditions: Tensor) -> Tensor:
        """The posterior's mean, one step back from x_t: (F, H, P)."""
        outputs = [
            self.network.denoise(x[:, part], t, conditions[:, part] if conditions.shape[1] > 1 else conditions)
            for part in _slices(x.shape[1], max(1, self.chunk // x.shape[0]))
        ]
        x_start = self.model.predict_start(x, t, torch.cat(outputs, dim=1))
        return self.model.posterior_mean(x_start, x, t)

    def to_poses_mm(self, x: Tensor) -> Tensor:
        """Network units (..., 3 J') -> root-centred poses (..., J, 3) in mm."""
        return with_root(unflatten_pose(x) / self.model.pose_scale, self.model.skeleton) * 1000


def _slices(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))
