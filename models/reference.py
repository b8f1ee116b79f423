"""DiffPose, the whole method in one file: read this first.

Holmquist & Wandt, "DiffPose: Multi-hypothesis Human Pose Estimation using Diffusion Models", ICCV 2023, in its main
configuration. A 2D detector gives a heatmap for each joint. Joint candidates are drawn from the heatmaps, the embedding
transformer turns them into a condition, and a diffusion model (Ho et al., "Denoising Diffusion Probabilistic Models",
2020) is trained to denoise 3D poses under that condition. A new candidate set and new noise give a new hypothesis.

Everything is written the obvious way, in float32 and with PyTorch's own layers, and has the published parameter names.
The rest of models/ computes the same sooner and with more options: the tests hold it against this file, and
experiments/bench times it against this file. Nothing here is used by train.py or eval.py.

Letters: B images, H hypotheses, J = 16 joints, S candidates for each joint, R = B * H rows, T diffusion steps.
A pose inside the model is 48 numbers, x of all joints, then y, then z, in metres times 10.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

JOINTS = 16  # heatmaps, and joints that are predicted (all but the root)
GRID = 64  # cells on a side of a heatmap
EMBEDDING = 128  # width of a candidate's embedding: 64 for x and 64 for y
POSE = 3 * JOINTS
HIDDEN = 1024
SCALE = 10.0
CLAMP_M = 3.0
RIGHT_HIP, LEFT_HIP = 0, 3


# --- joint candidates


def draw_candidates(heatmaps: Tensor, hypotheses: int, samples: int) -> tuple[Tensor, Tensor]:
    """Draw candidates from heatmaps (B, J, 64, 64): positions (B, H, J, S, 2) in [-1, 1] and likelihoods (B, H, J, S).

    Each map, negative values set to 0, is a distribution over its cells. The first candidate is the map's maximum, the
    other S - 1 are drawn. A candidate's likelihood is the map's value at its cell.
    """
    batch = len(heatmaps)
    maps = heatmaps.float().flatten(2)  # (B, J, 4096)
    drawn = torch.multinomial(maps.clamp(min=0).flatten(0, 1), hypotheses * (samples - 1), replacement=True)
    drawn = drawn.view(batch, JOINTS, hypotheses, samples - 1).transpose(1, 2)  # (B, H, J, S - 1)
    maximum = maps.argmax(-1)[:, None, :, None].expand(-1, hypotheses, -1, 1)
    cells = torch.cat([maximum, drawn], dim=-1)  # (B, H, J, S)
    likelihood = maps[:, None].expand(-1, hypotheses, -1, -1).gather(-1, cells)
    position = torch.stack([cells % GRID, cells // GRID], dim=-1).float()  # column x, row y
    return 2 * (position - GRID / 2) / GRID, likelihood


# --- the embedding transformer: candidates -> condition


class ChannelEncoding(nn.Module):
    """A coordinate as 64 soft one-hot channels: cos^2(8 pi (x - c_k)) within a quarter period of centre c_k, else 0."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centers", torch.linspace(-1, 1, EMBEDDING // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (..., 64)."""
        phase = 8 * math.pi * (x[..., None] - self.centers)
        return torch.where(phase.abs() <= math.pi / 2, phase.cos() ** 2, torch.zeros_like(phase))


class EmbeddingTransformer(nn.Module):
    """Each joint's candidates become a token; self-attention among the 16 tokens; all tokens become the condition."""

    def __init__(self, condition_dim: int):
        super().__init__()
        self.pos_proj = nn.Linear(EMBEDDING, EMBEDDING)
        self.pos_encoder = ChannelEncoding()
        self.joint_embedding = nn.Embedding(JOINTS, EMBEDDING)
        layer = nn.TransformerEncoderLayer(EMBEDDING, nhead=4, dim_feedforward=512, dropout=0.1, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False)
        self.conf_out = nn.Linear(EMBEDDING, 1)  # in the published weights, and unused
        self.pos_out = nn.Linear(JOINTS * EMBEDDING, JOINTS * condition_dim)

    def forward(self, position: Tensor, likelihood: Tensor, keep: Tensor | None = None) -> Tensor:
        """Positions (R, J, S, 2) and likelihoods (R, J, S) -> conditions (R, 16 * condition_dim).

        ``keep``: (R, J), False where training drops a joint: its candidates then have no embedding.
        """
        embedded = self.pos_encoder(position).flatten(-2)  # (R, J, S, 128), x part first
        if keep is not None:
            embedded = embedded * keep[:, :, None, None]
        embedded = self.pos_proj(likelihood[..., None] * embedded)
        tokens = embedded.sum(dim=2) + self.joint_embedding.weight  # (R, J, 128)
        return self.pos_out(self.transformer(tokens).flatten(1))


# --- the denoiser: (x_t, t, condition) -> noise


class ResidualBlock(nn.Module):
    """Two linear layers with LeakyReLU, added to their input."""

    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(HIDDEN, HIDDEN)
        self.bn1 = nn.BatchNorm1d(HIDDEN)  # like bn2 in the published weights, and unused
        self.l2 = nn.Linear(HIDDEN, HIDDEN)
        self.bn2 = nn.BatchNorm1d(HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.leaky_relu(self.l2(F.leaky_relu(self.l1(x))))


class Denoiser(nn.Module):
    """Two residual blocks on the concatenation of the noisy pose, the step and the condition."""

    def __init__(self, condition_width: int):
        super().__init__()
        self.upscale = nn.Linear(POSE + 1 + condition_width, HIDDEN)
        self.res_pose1 = ResidualBlock()
        self.res_pose2 = ResidualBlock()
        self.pose = nn.Linear(HIDDEN, POSE)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """x_t (R, 48), t (R,), condition (R, C) -> (R, 48)."""
        hidden = self.upscale(torch.cat([x, t[:, None].float(), condition], dim=-1))
        return self.pose(self.res_pose2(self.res_pose1(hidden)))


# --- the diffusion model


def cosine_betas(timesteps: int, offset: float = 0.008) -> Tensor:
    """beta_1 .. beta_T of the cosine schedule (Nichol & Dhariwal 2021, eq. 17), in float64."""
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    alpha_bar = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(0, 0.999)


class DiffPose(nn.Module):
    """A conditional diffusion model of 3D poses.

    ``objective``: the denoiser gives the noise (pred_noise) or x_0 itself (pred_x0). ``loss_type``: l2 or l1.
    """

    def __init__(
        self,
        *,
        timesteps: int = 25,
        condition_dim: int = 128,
        samples: int = 32,
        drop_probability: float = 0.1,
        objective: str = "pred_noise",
        loss_type: str = "l2",
    ):
        super().__init__()
        self.timesteps, self.samples, self.drop_probability = timesteps, samples, drop_probability
        self.objective, self.loss_type = objective, loss_type
        self.denoise_fn = Denoiser(JOINTS * condition_dim)
        self.condition_emb = EmbeddingTransformer(condition_dim)

        # Ho et al.: beta_t, alpha-bar_t (below eq. 4), and the posterior's variance and coefficients (eq. 7).
        betas = cosine_betas(timesteps)
        alpha_bar = torch.cumprod(1 - betas, dim=0)
        before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
        variance = betas * (1 - before) / (1 - alpha_bar)
        for name, value in {
            "betas": betas,
            "alphas_cumprod": alpha_bar,
            "alphas_cumprod_prev": before,
            "sqrt_alphas_cumprod": alpha_bar.sqrt(),
            "sqrt_one_minus_alphas_cumprod": (1 - alpha_bar).sqrt(),
            "log_one_minus_alphas_cumprod": (1 - alpha_bar).log(),
            "sqrt_recip_alphas_cumprod": (1 / alpha_bar).sqrt(),
            "sqrt_recipm1_alphas_cumprod": (1 / alpha_bar - 1).sqrt(),
            "posterior_variance": variance,
            "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
            "posterior_mean_coef1": betas * before.sqrt() / (1 - alpha_bar),
            "posterior_mean_coef2": (1 - before) * (1 - betas).sqrt() / (1 - alpha_bar),
            "p2_loss_weight": torch.ones_like(betas),  # in the published weights; every step counts the same
        }.items():
            self.register_buffer(name, value.float())

    def condition(self, position: Tensor, likelihood: Tensor, keep: Tensor | None = None) -> Tensor:
        """Candidates (B, H, J, S, 2) and (B, H, J, S) -> one condition for each hypothesis, (B * H, C)."""
        return self.condition_emb(position.flatten(0, 1), likelihood.flatten(0, 1), keep)

    # Training: Ho et al., algorithm 1

    def q_sample(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t = sqrt(alpha-bar_t) x_0 + sqrt(1 - alpha-bar_t) noise (Ho et al., eq. 4); (R, 48), t (R,)."""
        return self.sqrt_alphas_cumprod[t, None] * x_start + self.sqrt_one_minus_alphas_cumprod[t, None] * noise

    def loss(self, heatmaps: Tensor, target_m: Tensor) -> Tensor:
        """The loss of a batch: heatmaps (B, J, 64, 64) and poses in metres (B, J, 3)."""
        x_start = SCALE * target_m.transpose(1, 2).flatten(1)  # (B, 48)
        t = torch.randint(self.timesteps, (len(x_start),), device=x_start.device)
        noise = torch.randn_like(x_start)
        keep = torch.rand(heatmaps.shape[:2], device=x_start.device) >= self.drop_probability
        condition = self.condition(*draw_candidates(heatmaps, 1, self.samples), keep)
        return self.loss_of(x_start, t, noise, condition)

    def loss_of(self, x_start: Tensor, t: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """|noise - denoiser(x_t, t, condition)|^2, averaged (Ho et al., eq. 14); with pred_x0 of x_0 in its place."""
        output = self.denoise_fn(self.q_sample(x_start, t, noise), t, condition)
        wanted = noise if self.objective == "pred_noise" else x_start
        return F.l1_loss(output, wanted) if self.loss_type == "l1" else F.mse_loss(output, wanted)

    # Sampling: Ho et al., algorithm 2

    def posterior_mean(self, x: Tensor, t: int, output: Tensor) -> Tensor:
        """The mean of q(x_{t-1} | x_t, x_0) (Ho et al., eq. 7) from the denoiser's output at step t; all (R, 48).

        x_0 = sqrt(1 / alpha-bar_t) x_t - sqrt(1 / alpha-bar_t - 1) noise (from eq. 4), within 3 m.
        """
        x_start = output
        if self.objective == "pred_noise":
            x_start = self.sqrt_recip_alphas_cumprod[t] * x - self.sqrt_recipm1_alphas_cumprod[t] * output
        x_start = x_start.clamp(-SCALE * CLAMP_M, SCALE * CLAMP_M)
        return self.posterior_mean_coef1[t] * x_start + self.posterior_mean_coef2[t] * x

    @torch.no_grad()
    def reverse_chain(self, x: Tensor, condition: Tensor, noises: list[Tensor] | None) -> Tensor:
        """From noise x_T (R, 48) to x_0 (R, 48), step by step, under conditions (R, C).

        ``noises``: what is added at steps T - 1 .. 1, each (R, 48); None follows the posterior's mean alone.
        """
        for t in reversed(range(self.timesteps)):
            steps = torch.full((len(x),), t, device=x.device)
            x = self.posterior_mean(x, t, self.denoise_fn(x, steps, condition))
            if noises is not None and t > 0:
                x = x + (0.5 * self.posterior_log_variance_clipped[t]).exp() * noises[self.timesteps - 1 - t]
        return x

    @torch.no_grad()
    def sample(self, heatmaps: Tensor, hypotheses: int) -> Tensor:
        """Heatmaps (B, J, 64, 64) -> H hypotheses for each, (B, H, 17, 3) in mm, the root at the origin."""
        condition = self.condition(*draw_candidates(heatmaps, hypotheses, self.samples))
        start, *noises = torch.randn(self.timesteps, len(condition), POSE, device=heatmaps.device)
        return poses_mm(self.reverse_chain(start, condition, noises)).unflatten(0, (len(heatmaps), hypotheses))


def poses_mm(x: Tensor) -> Tensor:
    """x_0 (R, 48) -> root-centred poses (R, 17, 3) in mm; the root is the midpoint of the hips."""
    joints = 1000 * (x / SCALE).unflatten(-1, (3, JOINTS)).transpose(-1, -2)  # (R, 16, 3)
    root = (joints[:, RIGHT_HIP] + joints[:, LEFT_HIP])[:, None] / 2
    return torch.cat([torch.zeros_like(root), joints - root], dim=1)
