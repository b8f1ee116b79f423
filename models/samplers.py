"""Samplers: a trained diffusion model and its conditions -> 3D pose hypotheses in millimetres."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.denoiser import unflatten_pose
from models.diffusion import GaussianDiffusion
from models.fast.packed import PackedCondition, PackedDenoiser
from models.heatmap_sampler import Candidates
from utils.geometry import with_root
from utils.precision import PRECISIONS, usable_precision
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


class PoseSampler:
    """Ancestral sampling (Ho et al. 2020, algorithm 2) of H hypotheses a frame, and the zero-noise estimate.

    It samples from the weights that the model has when the sampler is made.
    ``precision``: float32, or the network in tf32, bfloat16 or float16 (the chain itself stays in float32).
    ``chunk``: hypotheses denoised at once, which bounds memory and changes no number; 0 = automatic.
    """

    def __init__(
        self,
        model: GaussianDiffusion,
        *,
        num_hypotheses: int,
        precision: str = "float32",
        chunk: int = 0,
        zero_noise: bool = True,
    ):
        self.model = model.eval()
        self.num_hypotheses = num_hypotheses
        self.zero_noise = zero_noise
        device_type = model.betas.device.type
        self.chunk = chunk or AUTOMATIC_CHUNK.get(device_type, AUTOMATIC_CHUNK["cuda"])
        self.matmul_precision = "high" if precision == "tf32" else torch.get_float32_matmul_precision()
        self.dtype = PRECISIONS[usable_precision(precision, model.betas.device)]
        self.denoiser = PackedDenoiser(model.denoise_fn, self.dtype)
        self.condition = PackedCondition(model.condition_emb, model.denoise_fn, self.dtype)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, draws: FrameDraws) -> PoseSamples:
        """Sample from heatmaps (B, 16, 64, 64), or 2D poses (B, P), with the draws of these B frames."""
        previous = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.matmul_precision)
        try:
            frames = max(1, self.chunk // self.num_hypotheses)
            starts = range(0, inputs.shape[0], frames)
            parts = [slice(start, start + frames) for start in starts]
            hypotheses = torch.cat([self._hypotheses(inputs[part], draws.part(part)) for part in parts])
            zero_noise = self._zero_noise(inputs, draws) if self.zero_noise else None
        finally:
            torch.set_float32_matmul_precision(previous)
        return PoseSamples(hypotheses_mm=hypotheses, zero_noise_mm=zero_noise)

    def _hypotheses(self, inputs: Tensor, draws: FrameDraws) -> Tensor:
        """H hypotheses of each frame, (F, H, J, 3) mm, by the ancestral chain."""
        model, count = self.model, self.num_hypotheses
        share = self._condition_share(model.draw_condition_input(inputs, count, draws))  # (F, H or 1, 2048)
        x = model.noise_scale * draws.normal("initial_noise", count, self.denoiser.pose_dim)  # (F, H, P)
        noises = draws.normals("step_noise", model.timesteps - 1, *x.shape[1:])
        for t in reversed(range(model.timesteps)):
            x = self._mean_step(x, t, share)
            if t > 0:
                x += model.noise_scale * model.posterior_deviation(t) * next(noises)
        return self.to_poses_mm(x)

    def _zero_noise(self, inputs: Tensor, draws: FrameDraws) -> Tensor:
        """The posterior mean's path from one random start and one candidate set, (B, J, 3) mm."""
        model = self.model
        share = self._condition_share(
            model.draw_condition_input(inputs, 1, draws, purpose="zero_noise_candidates")
        )  # (B, 1, 2048)
        x = model.noise_scale * draws.normal("zero_noise_initial_noise", 1, self.denoiser.pose_dim)
        for t in reversed(range(model.timesteps)):
            x = self._mean_step(x, t, share)
        return self.to_poses_mm(x)[:, 0]

    def _condition_share(self, condition_input) -> Tensor:
        """The conditions' share of the denoiser's first layers, (F, H, 2048), or (F, 1, 2048) where they are shared."""
        items = condition_input.cells.shape[0] if isinstance(condition_input, Candidates) else None
        rows = condition_input.rows()
        total = (rows.cells if isinstance(rows, Candidates) else rows.values).shape[0]
        shares = [self.condition(rows[part]) for part in _slices(total, self.chunk)]
        return torch.cat(shares).unflatten(0, (items or total, -1))

    def _mean_step(self, x: Tensor, t: int, share: Tensor) -> Tensor:
        """The posterior's mean one step on, (F, H, P)."""
        model = self.model
        outputs = [
            self.denoiser.from_share(x[:, part], t, share[:, part] if share.shape[1] > 1 else share)
            for part in _slices(x.shape[1], max(1, self.chunk // x.shape[0]))
        ]
        start = model.predict_start(x, t, torch.cat(outputs, dim=1))
        return model.posterior_mean(start, x, t)

    def to_poses_mm(self, x: Tensor) -> Tensor:
        """Network units (..., 3 J') -> root-centred poses (..., J, 3) in mm."""
        return with_root(unflatten_pose(x) / self.model.pose_scale, self.model.skeleton) * 1000


def _slices(total: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, total, size))
