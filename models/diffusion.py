"""Gaussian diffusion over 3D poses: noising, loss and posterior. Samplers that follow it are in models/samplers.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.candidates import ConditionInput
from models.denoiser import Denoiser, flatten_pose
from models.heatmap_sampler import HeatmapSampler
from models.schedules import cosine_betas
from utils.cell_lists import CellLists
from utils.randomness import FrameDraws, StepDraws
from utils.skeleton import Skeleton

CLAMP_M = 3.0


class GaussianDiffusion(nn.Module):
    """A conditional denoising diffusion model of 3D poses (Ho et al. 2020), with the published state-dict names.

    Poses inside are flattened (R, 3 J'), in metres times ``pose_scale``. ``heatmap_sampler`` is None when nothing is
    drawn (whole heatmaps, or 2D poses as the condition). ``sampleable``: every hypothesis gets its own candidate set.
    models/reference.py shows the same for the main configuration, without the options.

    ``start_deviation``: with pred_x0, how far poses lie from the network's estimate, in the chain's units; x_0 is then
    read off x_t as far as its noise allows (:meth:`start_from_output`). 0: the network's output alone, as published.

    ``start_variance``: Var(x_0 | x_t) at each step as measured on validation rows, (T,), which the sampler with the
    optimal variance needs (models/start_variance.py); None until it is measured or read.
    """

    start_variance: Tensor | None = None

    def __init__(
        self,
        *,
        denoise_fn: Denoiser,
        condition_emb: nn.Module,
        heatmap_sampler: HeatmapSampler | None,
        skeleton: Skeleton,
        timesteps: int,
        objective: str = "pred_noise",
        start_deviation: float = 0.0,
        loss_type: str = "l2",
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
        self.start_deviation = start_deviation
        self.loss_type = loss_type
        self.pose_scale = pose_scale
        self.noise_scale = noise_scale
        self.sampleable = sampleable
        self._register_schedule(cosine_betas(timesteps, offset=cosine_offset))

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
    ) -> ConditionInput:
        """Heatmaps (B, 16, 64, 64), lists of their cells or 2D poses (B, P) -> what :meth:`condition` embeds.

        One candidate set for each hypothesis if ``sampleable``, else one for each item. ``draws`` gives the uniform
        numbers.
        """
        if self.heatmap_sampler is None:
            return self.condition_emb.undrawn(inputs)
        return self.heatmap_sampler(inputs, num_hypotheses if self.sampleable else 1, draws, purpose=purpose)

    def condition(self, condition_input: ConditionInput, draws: StepDraws | None = None) -> Tensor:
        """Condition vectors, one row for each candidate set: (B * H, C), or (B, C) where hypotheses share one.

        ``draws``: those of a training step, where joints may be dropped.
        """
        return self.condition_emb(condition_input.rows(), draws)

    # --- forward process and loss

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise (Ho et al. 2020, eq. 4); all (R, P), t (R,)."""
        return self.sqrt_alphas_cumprod[t, None] * x_start + self.sqrt_one_minus_alphas_cumprod[t, None] * noise

    def loss(self, target_m: Tensor, inputs: Tensor | CellLists, draws: StepDraws) -> Tensor:
        """Mean denoising loss (Ho et al. 2020, eq. 14, or on x_0) of a batch, a scalar.

        ``target_m``: poses in metres, (B, J', 3). ``inputs``: heatmaps (B, 16, 64, 64), lists of their cells or 2D
        poses (B, P). t is drawn for each item (Ho et al. 2020, algorithm 1).
        """
        x_start = flatten_pose(target_m) * self.pose_scale  # (B, 3 J')
        t = self.draw_times(draws)  # (B,)
        noise = draws.normal("noise", x_start.shape[-1])  # (B, 3 J')
        condition = self.condition(self.draw_condition_input(inputs, 1, draws), draws)  # (B, C)
        return self.losses(x_start, t, noise, condition).mean()

    def draw_times(self, draws: StepDraws) -> Tensor:
        """A step for each item of a batch, uniform over all of them, (B,)."""
        return draws.integers("timestep", self.timesteps)

    def losses(self, x_start: Tensor, t: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """The loss of each row, (R,), from x_0 (R, P), t (R,), noise (R, P) and conditions (R, C)."""
        x = self.q_sample(x_start, t, noise)
        output = self.denoise_fn(x, t, condition).float()
        if self.start_deviation:
            output = self.start_from_output(x, t[:, None], output)
        wanted = noise if self.objective == "pred_noise" else x_start
        distance = F.l1_loss if self.loss_type == "l1" else F.mse_loss
        return distance(output, wanted, reduction="none").mean(dim=-1) * self.p2_loss_weight[t]

    # --- reverse process

    @property
    def pose_dim(self) -> int:
        """Numbers of a flattened pose, P = 3 J'."""
        return self.denoise_fn.parts[0]

    def denoise(self, x: Tensor, t: float, condition: Tensor) -> Tensor:
        """The denoiser's output at step t: x_t (..., H, P), conditions (..., H or 1, C) -> (..., H, P)."""
        steps = torch.full(x.shape[:-1], t, device=x.device)
        return self.denoise_fn(x, steps, condition.expand(*x.shape[:-1], -1))

    def predict_start(self, x: Tensor, t: int, output: Tensor) -> Tensor:
        """x_0 from the denoiser's output at step t, clamped to +-3 m; all (R, P).

        With pred_noise: x_0 = sqrt(1 / abar_t) x_t - sqrt(1 / abar_t - 1) eps (Ho et al. 2020, below eq. 9).
        """
        if self.objective == "pred_noise":
            output = self.sqrt_recip_alphas_cumprod[t] * x - self.sqrt_recipm1_alphas_cumprod[t] * output
        elif self.start_deviation:
            output = self.start_from_output(x, t, output)
        limit = CLAMP_M * self.pose_scale
        return output.clamp(-limit, limit)

    def start_from_output(self, x: Tensor, t: int | Tensor, output: Tensor) -> Tensor:
        """x_0 from x_t and an estimate that is ``start_deviation`` s off: the mean of both, weighted by precision.

        E[x_0 | x_t] = w x_t / sqrt(abar_t) + (1 - w) output, w = abar_t s^2 / (abar_t s^2 + 1 - abar_t): exact where
        x_0 given the image is Gaussian about the output. So the network need not learn to copy x_t where that is nearly
        x_0 (after the skip connection of Karras et al. 2022, table 1); all (R, P), t a step or (R, 1).
        """
        known = self.alphas_cumprod[t] * self.start_deviation**2
        weight = known / (known + self.sqrt_one_minus_alphas_cumprod[t] ** 2)
        return weight * self.sqrt_recip_alphas_cumprod[t] * x + (1 - weight) * output

    def posterior_mean(self, x_start: Tensor, x: Tensor, t: int) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eq. 7); all (R, P)."""
        return self.posterior_mean_coef1[t] * x_start + self.posterior_mean_coef2[t] * x

    def posterior_deviation(self, t: int) -> Tensor:
        """Standard deviation of q(x_{t-1} | x_t, x_0), a scalar."""
        return (0.5 * self.posterior_log_variance_clipped[t]).exp()

    def posterior(self, t: int, s: int) -> tuple[float, float, float]:
        """q(x_s | x_t, x_0) for any s < t, where s = -1 is the data: (a, b, d) of mean a x_0 + b x_t and deviation d.

        With beta = 1 - abar_t / abar_s these are the formulas of Ho et al. 2020, eq. 7; between neighbours the
        published buffers are taken, so that the published chain keeps its numbers to the last bit.
        """
        if s == t - 1:
            deviation = float(self.posterior_deviation(t))
            return float(self.posterior_mean_coef1[t]), float(self.posterior_mean_coef2[t]), deviation
        if s < 0:
            return 1.0, 0.0, 0.0
        abar_t, abar_s = float(self.alphas_cumprod[t]), float(self.alphas_cumprod[s])
        # 1 - abar near 0 would lose digits: its root is stored.
        left_t, left_s = (float(self.sqrt_one_minus_alphas_cumprod[step]) ** 2 for step in (t, s))
        beta = 1 - abar_t / abar_s
        return (
            beta * abar_s**0.5 / left_t,
            left_s * (abar_t / abar_s) ** 0.5 / left_t,
            (beta * left_s / left_t) ** 0.5,
        )

    def zero_noise_start(self, draws: FrameDraws) -> Tensor:
        """Where the zero-noise estimate of B frames begins: one random start each, (B, 1, P)."""
        return self.noise_scale * draws.normal("zero_noise_initial_noise", 1, self.pose_dim)
