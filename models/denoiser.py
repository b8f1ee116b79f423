"""The denoiser: (x_t, t, condition) -> the noise in x_t, or x_0."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 1024


class ResidualBlock(nn.Module):
    """LeakyReLU(l2(LeakyReLU(l1 x))) + x. ``bn1`` and ``bn2`` are in every published state dict and unused."""

    def __init__(self, width: int):
        super().__init__()
        self.l1 = nn.Linear(width, width)
        self.bn1 = nn.BatchNorm1d(width)
        self.l2 = nn.Linear(width, width)
        self.bn2 = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.l1(x))
        return x + F.leaky_relu(self.l2(hidden))


class Denoiser(nn.Module):
    """Two residual blocks between an up- and a down-projection, on the concatenation of x_t, t and the condition."""

    def __init__(self, *, pose_dim: int, condition_dim: int):
        super().__init__()
        self.parts = (pose_dim, 1, condition_dim)
        self.upscale = nn.Linear(sum(self.parts), HIDDEN)
        self.res_pose1 = ResidualBlock(HIDDEN)
        self.res_pose2 = ResidualBlock(HIDDEN)
        self.pose = nn.Linear(HIDDEN, pose_dim)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """x_t (..., P), t (...) integer steps, condition (..., C) -> (..., P)."""
        hidden = self._upscaled(x, t.unsqueeze(-1).float(), condition)  # (..., 1024)
        return self.pose(self.res_pose2(self.res_pose1(hidden)))

    def _upscaled(self, x: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        """The first layer: (..., P), (..., 1), (..., C) -> (..., 1024); no activation follows it."""
        kind = x.device.type
        if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
            return self.upscale(torch.cat([x, t, condition], dim=-1))
        # In mixed precision the step's share stays in float32: bfloat16 has no integers above 256.
        weight_x, weight_t, weight_condition = self.upscale.weight.split(self.parts, dim=1)
        share = F.linear(condition, weight_condition, self.upscale.bias)
        return F.linear(x, weight_x) + share + (t * weight_t.squeeze(-1)).to(share.dtype)


def flatten_pose(pose: Tensor) -> Tensor:
    """(B, J, 3) -> (B, 3 J) in the network's order x0..xJ, y0..yJ, z0..zJ."""
    return pose.transpose(-1, -2).flatten(-2)


def unflatten_pose(flat: Tensor) -> Tensor:
    """(..., 3 J) -> (..., J, 3), the inverse of :func:`flatten_pose`."""
    return torch.unflatten(flat, -1, (3, -1)).transpose(-1, -2)
