"""The noise schedule: beta_t of the forward process q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)."""

import math

import torch
from torch import Tensor


def cosine_betas(timesteps: int, *, offset: float = 0.008) -> Tensor:
    """Cosine schedule of Nichol & Dhariwal 2021, eq. 17, as (T,) float64.

    abar(u) = cos^2(((u/T) + s) / (1 + s) * pi/2) / abar(0) and beta = 1 - abar(u + 1) / abar(u), clipped to [0, 0.999].
    """
    u = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    alphas_cumprod = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
    alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
    return (1 - alphas_cumprod[1:] / alphas_cumprod[:-1]).clamp(0, 0.999)
