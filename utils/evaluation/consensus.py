"""One pose, a few modes and a spread made from many hypotheses, without the truth.

Hypotheses are (B, H, J, 3), root-centred, mm, x right, y up, z towards the camera; heatmaps are (B, 16, 64, 64) of the
image that they were sampled from. Rules that compare hypotheses with the heatmaps project them by weak perspective:
cell = scale * (x, -y) + offset, with the scale and offset that fit each hypothesis best.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from utils.evaluation.metrics import joint_distances, spread
from utils.heatmaps import COUNTED_SHARE
from utils.skeleton import HEATMAP_SIZE, MPII_TO_H36M

Estimator = Callable[[Tensor, Tensor | None], Tensor | None]
"""(hypotheses (B, H, J, 3), heatmaps or None) -> poses (B, J, 3), or None if the rule needs heatmaps."""

# The 3D joint that each heatmap (MPII order) belongs to, by the number of joints.
HEATMAP_JOINTS = {17: MPII_TO_H36M, 24: (8, 5, 2, 1, 4, 7, 0, 6, 12, 15, 21, 19, 17, 16, 18, 20)}
# Share of each map spread evenly over its cells, so that a joint where the map is empty costs a bounded amount.
LOST_SHARE = 0.05
# Chosen on two of the benchmark's training subjects, with a model trained on the others.
BEST_SHARE = 0.05
GUESSED_SPREAD_MM = 120.0
MODE_RADIUS_MM = 140.0
_WEISZFELD_STEPS = 20


def mean_pose(hypotheses_mm: Tensor, heatmaps: Tensor | None = None) -> Tensor:
    """The average hypothesis: the simplest single pose that needs no truth."""
    return hypotheses_mm.mean(1)


def geometric_median(hypotheses_mm: Tensor, heatmaps: Tensor | None = None) -> Tensor:
    """For each joint, the point with the least mean distance to its hypotheses (Weiszfeld 1937)."""
    centre = hypotheses_mm.mean(1)
    for _ in range(_WEISZFELD_STEPS):
        weight = 1.0 / joint_distances(hypotheses_mm, centre[:, None]).clamp_min(1.0)  # (B, H, J)
        centre = (hypotheses_mm * weight[..., None]).sum(1) / weight.sum(1)[..., None]
    return centre


def pose_distances(hypotheses_mm: Tensor) -> Tensor:
    """Mean joint distance of every two hypotheses, (B, H, H) mm."""
    total = hypotheses_mm.new_zeros(())
    for joint in hypotheses_mm.unbind(2):
        total = total + torch.cdist(joint, joint)
    return total / hypotheses_mm.shape[2]


def medoid(hypotheses_mm: Tensor, heatmaps: Tensor | None = None) -> Tensor:
    """The hypothesis with the least mean distance to the others: a pose that was really drawn."""
    best = pose_distances(hypotheses_mm).mean(-1).argmin(-1)
    return hypotheses_mm[torch.arange(len(best), device=best.device), best]


def heatmap_centres(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (column, row) (B, J, 2) and variance along an axis (B, J) of each map's part above a tenth of its peak."""
    maps = heatmaps.float()
    maps = torch.where(maps > COUNTED_SHARE * maps.amax((2, 3), keepdim=True).clamp_min(1e-12), maps, 0)
    total = maps.sum((2, 3)).clamp_min(1e-12)
    grid = torch.arange(HEATMAP_SIZE, device=maps.device, dtype=maps.dtype)
    columns, rows = maps.sum(2), maps.sum(3)
    centre = torch.stack((columns @ grid, rows @ grid), dim=-1) / total[..., None]
    second = (columns @ grid.square() + rows @ grid.square()) / total
    return centre, ((second - centre.square().sum(-1)) / 2).clamp_min(0)


def project_to_cells(poses_mm: Tensor, centres: Tensor, weights: Tensor) -> Tensor:
    """Cells (B, H, 16, 2) of poses (B, H, J, 3) by the weak perspective that fits ``centres`` (B, 16, 2) best.

    ``weights`` (B, 16): how much each joint counts in the weighted least-squares fit of scale and offset.
    """
    joints = list(HEATMAP_JOINTS[poses_mm.shape[2]])
    points = poses_mm[:, :, joints, :2] * poses_mm.new_tensor((1.0, -1.0))  # (B, H, 16, 2)
    share = (weights / weights.sum(-1, keepdim=True))[:, None, :, None]
    target = centres[:, None]
    target_mean, point_mean = (share * target).sum(2, keepdim=True), (share * points).sum(2, keepdim=True)
    points = points - point_mean
    size = (share * points.square()).sum((2, 3), keepdim=True).clamp_min(1e-6)
    scale = (share * points * (target - target_mean)).sum((2, 3), keepdim=True) / size
    return scale.clamp_min(0) * points + target_mean


def heatmap_scores(hypotheses_mm: Tensor, heatmaps: Tensor) -> Tensor:
    """Log-likelihood (B, H) of each hypothesis under the heatmaps, read as distributions over their cells."""
    maps = heatmaps.float().clamp_min(0)
    centres, variance = heatmap_centres(maps)
    cells = project_to_cells(hypotheses_mm, centres, 1.0 / (variance + 1.0))
    density = maps / maps.sum((2, 3), keepdim=True).clamp_min(1e-12)
    density = (1 - LOST_SHARE) * density + LOST_SHARE / HEATMAP_SIZE**2
    # A cell's number is the position of its centre; -1 and 1 are the outer edges of the first and the last cell.
    grid = ((2 * cells + 1) / HEATMAP_SIZE - 1).transpose(1, 2).flatten(0, 1)[:, :, None]  # (B 16, H, 1, 2)
    value = F.grid_sample(density.flatten(0, 1)[:, None], grid, padding_mode="border", align_corners=False)
    return value.view(*density.shape[:2], -1).log().sum(1)


def best_scored(hypotheses_mm: Tensor, heatmaps: Tensor | None) -> Tensor | None:
    """The hypothesis with the highest heatmap score."""
    if heatmaps is None:
        return None
    best = heatmap_scores(hypotheses_mm, heatmaps).argmax(-1)
    return hypotheses_mm[torch.arange(len(best), device=best.device), best]


def best_scored_mean(hypotheses_mm: Tensor, heatmaps: Tensor | None, *, share: float = BEST_SHARE) -> Tensor | None:
    """Mean of the highest-scoring ``share`` of the hypotheses (at least one)."""
    if heatmaps is None:
        return None
    count = max(1, round(share * hypotheses_mm.shape[1]))
    best = heatmap_scores(hypotheses_mm, heatmaps).topk(count, dim=-1).indices
    return hypotheses_mm.gather(1, best[..., None, None].expand(-1, -1, *hypotheses_mm.shape[2:])).mean(1)


RULES: Mapping[str, Estimator] = {
    "mean_pose": mean_pose,
    "geometric_median": geometric_median,
    "medoid": medoid,
    "heatmap_best": best_scored,
    "heatmap_mean": best_scored_mean,
}
# Chosen on recorded motion that nothing was trained on, with the weights that ship: see docs/demo.md.
DEFAULT_RULE = "geometric_median"


def consensus_pose(hypotheses_mm: Tensor, heatmaps: Tensor | None = None) -> Tensor:
    """The best of these rules for one pose (B, J, 3) without the truth; docs/demo.md compares them."""
    pose = RULES[DEFAULT_RULE](hypotheses_mm, heatmaps)
    return geometric_median(hypotheses_mm) if pose is None else pose


def joint_spread(hypotheses_mm: Tensor) -> Tensor:
    """Standard deviation (B, J) of each joint over its hypotheses, all three axes together, mm; 0 for a single one."""
    if hypotheses_mm.shape[1] < 2:
        return hypotheses_mm.new_zeros(hypotheses_mm[:, 0, :, 0].shape)
    return spread(hypotheses_mm).square().sum(-1).sqrt()


def guessed_joints(hypotheses_mm: Tensor, *, limit_mm: float = GUESSED_SPREAD_MM) -> Tensor:
    """Which joints (B, J) the model guesses rather than knows: their spread is above ``limit_mm``."""
    return joint_spread(hypotheses_mm) > limit_mm


@dataclass(frozen=True)
class Modes:
    """Distinct explanations of one frame, the most frequent first.

    ``poses_mm`` (K, J, 3): the mean of each group; ``weights`` (K,): its share of the hypotheses; ``members`` (H,): the
    mode that each hypothesis belongs to.
    """

    poses_mm: Tensor
    weights: Tensor
    members: Tensor


def find_modes(hypotheses_mm: Tensor, *, radius_mm: float = MODE_RADIUS_MM, most: int = 5) -> Modes:
    """Group one frame's hypotheses (H, J, 3) into at most ``most`` modes.

    The hypothesis with the most others within ``radius_mm`` (mean joint distance) leads the first group. The same rule
    picks the next leader among the hypotheses outside all groups. In the end each joins its nearest leader.
    """
    distances = pose_distances(hypotheses_mm[None])[0]
    near, left = distances < radius_mm, torch.ones_like(distances[0], dtype=torch.bool)
    leaders: list[int] = []
    while len(leaders) < most and bool(left.any()):
        counts = (near & left).sum(1) * left
        leaders.append(int(counts.argmax()))
        left &= ~near[leaders[-1]]
        left[leaders[-1]] = False
    members = distances[:, leaders].argmin(1)
    counts = torch.bincount(members, minlength=len(leaders))
    order = counts.argsort(descending=True, stable=True)
    members = order.argsort()[members]
    poses = torch.stack([hypotheses_mm[members == k].mean(0) for k in range(len(order))])
    return Modes(poses_mm=poses, weights=counts[order] / len(hypotheses_mm), members=members)
