"""Noise schedules: beta_t of the forward process q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)."""

import math

import torch
from torch import Tensor

from utils.errors import DiffPoseError


def cosine_betas(timesteps: int, *, offset: float = 0.008) -> Tensor:
    """Cosine schedule of Nichol & Dhariwal 2021, eq. 17, as (T,) float64.

    abar(u) = cos^2(((u/T) + s) / (1 + s) * pi/2) / abar(0) and beta = 1 - abar(u + 1) / abar(u), clipped to [0, 0.999].
    """
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    alphas_cumprod = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(0, 0.999)


def linear_betas(timesteps: int) -> Tensor:
    """Linear schedule of Ho et al. 2020 (1e-4 .. 2e-2 at T = 1000, scaled by 1000/T), as (T,) float64."""
    scale = 1000 / timesteps
    return torch.linspace(scale * 1e-4, scale * 2e-2, timesteps, dtype=torch.float64).clamp(0, 0.999)


def betas_for(schedule: str, timesteps: int, *, offset: float = 0.008) -> Tensor:
    """Betas of the schedule named ``cosine`` or ``linear``, (T,) float64."""
    if schedule == "cosine":
        return cosine_betas(timesteps, offset=offset)
    if schedule == "linear":
        return linear_betas(timesteps)
    raise DiffPoseError(f"unknown beta schedule '{schedule}': it is one of cosine, linear")
