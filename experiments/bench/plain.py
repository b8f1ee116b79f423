"""What speed is measured against, beside the method itself in models/reference.py: training step and metrics.

Both are as a first version would have them: PyTorch's default optimiser, one metric and one threshold after another.
"""

import copy

import torch
from torch import Tensor

from models.reference import DiffPose
from utils.skeleton import Skeleton


class PlainTrainer:
    """A training step as a first version would have it: float32, torch's default Adam, EMA parameter by parameter."""

    def __init__(self, model: DiffPose, *, rate: float, ema_decay: float):
        self.model = model.train()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        self.average = copy.deepcopy(model)
        self.decay = ema_decay
        self.steps = 0

    def step(self, heatmaps: Tensor, target_m: Tensor) -> float:
        """One step on a batch; the loss."""
        self.optimizer.zero_grad()
        loss = self.model.loss(heatmaps, target_m)
        loss.backward()
        self.optimizer.step()
        if self.steps % 10 == 0:
            with torch.no_grad():
                for average, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
                    average.copy_(self.decay * average + (1 - self.decay) * weight)
        self.steps += 1
        return loss.item()


def align(poses: Tensor, truth: Tensor) -> Tensor:
    """Procrustes alignment by SVD, poses (N, J, 3) onto truths (N, J, 3)."""
    mu_pose, mu_truth = poses.mean(1, keepdim=True), truth.mean(1, keepdim=True)
    a, b = poses - mu_pose, truth - mu_truth
    u, s, vt = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.sign(torch.linalg.det(u @ vt))
    s = torch.cat([s[:, :2], s[:, 2:] * sign[:, None]], dim=1)
    u = torch.cat([u[:, :, :2], u[:, :, 2:] * sign[:, None, None]], dim=2)
    scale = s.sum(1) / a.square().sum((1, 2))
    return scale[:, None, None] * a @ (u @ vt) + mu_truth


def all_metrics(hypotheses: Tensor, truth: Tensor, skeleton: Skeleton) -> dict[str, Tensor]:
    """Every metric of (B, H, J, 3) hypotheses and (B, J, 3) truths, one after the other, alignment each time anew."""
    batch, count = hypotheses.shape[:2]
    flat, target = hypotheses.flatten(0, 1), truth[:, None].expand_as(hypotheses).flatten(0, 1)
    scores = {
        "mpjpe": (flat - target).norm(dim=-1).mean(-1),
        "pa_mpjpe": (align(flat, target) - target).norm(dim=-1).mean(-1),
    }
    scaled = flat * (target.flatten(1).norm(dim=-1) / flat.flatten(1).norm(dim=-1))[:, None, None]
    scores["mpjpe_sc"] = (scaled - target).norm(dim=-1).mean(-1)
    picked = list(skeleton.pck_joints)
    scores["pck"] = ((flat - target).norm(dim=-1)[:, picked] < 150).float().mean(-1)
    scores["pck_sc"] = ((scaled - target).norm(dim=-1)[:, picked] < 150).float().mean(-1)
    distances = (align(flat, target) - target).norm(dim=-1)[:, list(skeleton.cps_joints)]
    curve = torch.stack([(distances < threshold).all(-1).float() for threshold in range(1, 301)], dim=-1)
    scores["cps"] = torch.trapezoid(curve, dx=1.0, dim=-1)
    lengths = [
        ((flat[:, a] - flat[:, b]).norm(dim=-1) - (flat[:, c] - flat[:, d]).norm(dim=-1)).abs()
        for (a, b), (c, d) in skeleton.symmetric_bones
    ]
    scores["symmetry"] = torch.stack(lengths).mean(0)
    reduced = {}
    for name, values in scores.items():
        values = values.view(batch, count)
        reduced[name] = torch.stack(
            [values.min(1).values, values.median(1).values, values.mean(1), values.max(1).values]
        )
    median = hypotheses.median(dim=1).values
    own = (hypotheses - median[:, None]).norm(dim=-1)
    reduced["truth_quantile"] = (own > (truth - median).norm(dim=-1)[:, None]).float().mean(1)
    reduced["spread"] = hypotheses.std(1)
    return reduced
