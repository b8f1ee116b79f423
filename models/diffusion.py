"""Gaussian diffusion over 3D poses: noising, loss and posterior. Samplers that follow it are in models/samplers.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.condition_embedding import HeatmapEmbedding, SharedInput
from models.denoiser import Denoiser, flatten_pose
from models.heatmap_sampler import Candidates, HeatmapSampler
from models.schedules import betas_for
from utils.cell_lists import CellLists
from utils.randomness import StepDraws
from utils.skeleton import Skeleton

CLAMP_M = 3.0


class GaussianDiffusion(nn.Module):
    """A conditional denoising diffusion model of 3D poses (Ho et al. 2020), with the published state-dict names.

    Poses inside are flattened (R, 3 J'), in metres times ``pose_scale``. ``heatmap_sampler`` is None when nothing is
    drawn (whole heatmaps, or 2D poses as the condition). ``sampleable``: every hypothesis gets its own candidate set.
    """

    def __init__(
        self,
        *,
        denoise_fn: Denoiser,
        condition_emb: nn.Module,
        heatmap_sampler: HeatmapSampler | None,
        skeleton: Skeleton,
        timesteps: int,
        objective: str = "pred_noise",
        loss_type: str = "l2",
        schedule: str = "cosine",
        cosine_offset: float = 0.008,
        pose_scale: float = 1.0,
        noise_scale: float = 1.0,
        sampleable: bool = False,
    ):
        super().__init__()
        self.denoise_fn = denoise_fn
        self.condition_emb = condition_emb
        self.heatmap_sampler = heatmap_sampler
        self.skeleton = skeleton
        self.timesteps = timesteps
        self.objective = objective
        self.loss_type = loss_type
        self.pose_scale = pose_scale
        self.noise_scale = noise_scale
        self.sampleable = sampleable
        self._register_schedule(betas_for(schedule, timesteps, offset=cosine_offset))

    def _register_schedule(self, betas: Tensor) -> None:
        """The published buffers, computed in float64 and stored in float32."""
        alphas_cumprod = torch.cumprod(1 - betas, dim=0)
        previous = F.pad(alphas_cumprod[:-1], (1, 0), value=1.0)
        variance = betas * (1 - previous) / (1 - alphas_cumprod)
        buffers = {
            "betas": betas,
            "alphas_cumprod": alphas_cumprod,
            "alphas_cumprod_prev": previous,
            "sqrt_alphas_cumprod": alphas_cumprod.sqrt(),
            "sqrt_one_minus_alphas_cumprod": (1 - alphas_cumprod).sqrt(),
            "log_one_minus_alphas_cumprod": (1 - alphas_cumprod).log(),
            "sqrt_recip_alphas_cumprod": (1 / alphas_cumprod).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / alphas_cumprod - 1).sqrt(),
            "posterior_variance": variance,
            "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
            "posterior_mean_coef1": betas * previous.sqrt() / (1 - alphas_cumprod),
            "posterior_mean_coef2": (1 - previous) * (1 - betas).sqrt() / (1 - alphas_cumprod),
            # p2 weighting (Choi et al. 2022) with gamma 0.
            "p2_loss_weight": torch.ones_like(betas),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.float())

    # --- conditions

    def draw_condition_input(
        self, inputs: Tensor | CellLists, num_hypotheses: int, draws, *, purpose: str = "candidates"
    ) -> Candidates | SharedInput:
        """Heatmaps (B, 16, 64, 64), lists of their cells or 2D poses (B, P) -> what :meth:`condition` embeds.

        One candidate set a hypothesis if ``sampleable``, else one an item. ``draws`` gives the uniform numbers.
        """
        if self.heatmap_sampler is None:
            return SharedInput(inputs)
        return self.heatmap_sampler(inputs, num_hypotheses if self.sampleable else 1, draws, purpose=purpose)

    def condition(self, condition_input: Candidates | SharedInput) -> Tensor:
        """Condition vectors, one row a candidate set: (B * H, C), or (B, C) where hypotheses share one."""
        return self.condition_emb(condition_input.rows())

    # --- forward process and loss

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise (Ho et al. 2020, eq. 4); all (R, P), t (R,)."""
        return self.sqrt_alphas_cumprod[t, None] * x_start + self.sqrt_one_minus_alphas_cumprod[t, None] * noise

    def loss(self, target_m: Tensor, inputs: Tensor | CellLists, draws: StepDraws) -> Tensor:
        """Mean denoising loss (Ho et al. 2020, eq. 14, or on x_0) of a batch, a scalar.

        ``target_m``: poses in metres, (B, J', 3). ``inputs``: heatmaps (B, 16, 64, 64), lists of their cells or 2D
        poses (B, P). t is uniform for each item.
        """
        x_start = flatten_pose(target_m) * self.pose_scale
        t = draws.integers("timestep", self.timesteps)
        noise = draws.normal("noise", x_start.shape[-1])
        condition = self._training_condition(inputs, draws)
        return self.losses(x_start, t, noise, condition).mean()

    def losses(self, x_start: Tensor, t: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """The loss of each row, (R,), from x_0 (R, P), t (R,), noise (R, P) and conditions (R, C)."""
        output = self.denoise_fn(self.q_sample(x_start, t, noise), t, condition).float()
        wanted = noise if self.objective == "pred_noise" else x_start
        distance = F.l1_loss if self.loss_type == "l1" else F.mse_loss
        return distance(output, wanted, reduction="none").mean(dim=-1) * self.p2_loss_weight[t]

    def _training_condition(self, inputs: Tensor | CellLists, draws: StepDraws) -> Tensor:
        candidates = self.draw_condition_input(inputs, 1, draws)
        embedding = self.condition_emb
        if not isinstance(embedding, HeatmapEmbedding) or embedding.drop_method == "none":
            return self.condition(candidates)
        keep = embedding.kept_joints(candidates, draws.uniform("joint_drop", inputs.shape[1]))
        return embedding(candidates.rows(), keep)

    # --- reverse process

    def predict_start(self, x: Tensor, t: int, output: Tensor) -> Tensor:
        """x_0 from the denoiser's output at step t, clamped to +-3 m; all (R, P).

        With pred_noise: x_0 = sqrt(1 / abar_t) x_t - sqrt(1 / abar_t - 1) eps (Ho et al. 2020, below eq. 9).
        """
        if self.objective == "pred_noise":
            output = self.sqrt_recip_alphas_cumprod[t] * x - self.sqrt_recipm1_alphas_cumprod[t] * output
        limit = CLAMP_M * self.pose_scale
        return output.clamp(-limit, limit)

    def posterior_mean(self, x_start: Tensor, x: Tensor, t: int) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eq. 7); all (R, P)."""
        return self.posterior_mean_coef1[t] * x_start + self.posterior_mean_coef2[t] * x

    def posterior_deviation(self, t: int) -> Tensor:
        """Standard deviation of q(x_{t-1} | x_t, x_0), a scalar."""
        return (0.5 * self.posterior_log_variance_clipped[t]).exp()
