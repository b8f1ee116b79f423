"""Training heatmaps varied as other detectors and other crops would vary them.

A model that is to work with a detector it was not trained on must not rely on one detector's habits. Each training item
is mirrored half of the time, its crop is scaled and shifted a little, and its maps change in place, width and height;
some joints' maps are lost altogether.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from utils.heatmaps import LOST_LEVEL
from utils.randomness import StepDraws
from utils.skeleton import H36M17, HEATMAP_SIZE, MPII_JOINTS, SMPL24, mirror_order

SCALE_RANGE = (0.80, 1.12)
"""Of the body in its crop: a crop around too many or too few joints."""
MAX_SHIFT = 2.5
JOINT_SHIFT_STD = 0.7
"""Cells: detectors disagree about where a joint is, each of them in the same way for all its images."""
WIDTH_RANGE = (1.0, 3.5)
"""Half-width w in cells of the triangle that maps are resampled with: it adds (w^2 - 1) / 6 to a peak's variance."""
HEIGHT_RANGE = (0.6, 1.2)
LOST_JOINT, LOST_SHANKS = 0.02, 0.04
"""Probabilities that a joint's map, or all maps from the knees down, say nothing."""
_SHANKS = [MPII_JOINTS.index(name) for name in ("RFoot", "RKnee", "LKnee", "LFoot")]


_MIRRORED_MAPS = mirror_order(MPII_JOINTS)
_MIRRORED_POSE = {
    skeleton.num_predicted: mirror_order(skeleton.joints[skeleton.num_joints - skeleton.num_predicted :])
    for skeleton in (H36M17, SMPL24)
}


def _resampling(sign: Tensor, scale: Tensor, shift: Tensor, width: Tensor) -> Tensor:
    """Matrices (B, J, 64 out, 64 in) of an axis: triangles of half-width ``width`` around the cells' sources."""
    cells = torch.arange(HEATMAP_SIZE, device=shift.device, dtype=shift.dtype)
    middle = HEATMAP_SIZE / 2
    source = middle + (sign / scale)[:, None, None] * (cells - middle - shift[..., None])  # (B, J, 64)
    inverse_width = 1 / width[..., None, None]
    away = (source[..., None] - cells).mul_(inverse_width).abs_()
    return away.neg_().add_(1).clamp_min_(0).mul_(inverse_width)


def warp(heatmaps: Tensor, *, mirror: Tensor, scale: Tensor, shift: Tensor, width: Tensor) -> Tensor:
    """Heatmaps (B, J, 64, 64) after mirroring (B,) bool, scaling (B,), shifting (B, J, 2) cells; about (32, 32).

    ``width`` (B, J): half-width of the resampling triangle in cells; 1 is linear interpolation.
    """
    flipped = torch.where(mirror[:, None, None, None], heatmaps[:, _MIRRORED_MAPS], heatmaps)
    columns = _resampling(1.0 - 2.0 * mirror.to(scale.dtype), scale, shift[..., 0], width)
    rows = _resampling(torch.ones_like(scale), scale, shift[..., 1], width)
    return rows @ flipped @ columns.transpose(-1, -2)


def mirror_poses(poses: Tensor, mirror: Tensor) -> Tensor:
    """Poses (B, J', 3) of the predicted joints, mirrored left to right where ``mirror`` (B,) says so."""
    mirrored = poses[:, _MIRRORED_POSE[poses.shape[1]]] * poses.new_tensor((-1.0, 1.0, 1.0))
    return torch.where(mirror[:, None, None], mirrored, poses)


def _between(draws: StepDraws, purpose: str, limits: tuple[float, float], *shape: int) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * draws.uniform(purpose, *shape)


def lose_joints(heatmaps: Tensor, draws: StepDraws) -> Tensor:
    """Heatmaps (B, 16, 64, 64) some of which say nothing: the same small value everywhere."""
    lost = draws.uniform("lost", heatmaps.shape[1]) < LOST_JOINT
    lost[:, _SHANKS] |= draws.uniform("lost_shanks", 1) < LOST_SHANKS
    lost |= heatmaps.amax((2, 3)) <= 0  # moved out of its map
    return torch.where(lost[..., None, None], heatmaps.new_tensor(LOST_LEVEL), heatmaps)


def augment(batch: dict[str, Tensor], draws: StepDraws) -> dict[str, Tensor]:
    """A training batch with ``heatmap`` (B, 16, 64, 64), float16, and ``target_m`` (B, J', 3) varied alike."""
    heatmaps = batch["heatmap"].float()
    joints = heatmaps.shape[1]
    mirror = draws.uniform("mirror") < 0.5
    shift = MAX_SHIFT * (2 * draws.uniform("shift", 1, 2) - 1)
    shift = shift + JOINT_SHIFT_STD * draws.normal("joint_shift", joints, 2)
    width = _between(draws, "width", WIDTH_RANGE, 1).expand(-1, joints)
    moved = warp(heatmaps, mirror=mirror, scale=_between(draws, "scale", SCALE_RANGE), shift=shift, width=width)
    height = _between(draws, "height", HEIGHT_RANGE, 1) * _between(draws, "heights", (0.75, 1.1), joints)
    moved *= height[..., None, None]
    target = mirror_poses(batch["target_m"], mirror)
    return {**batch, "heatmap": lose_joints(moved, draws).half(), "target_m": target}


def augmented(
    batches: Iterable[dict[str, Tensor]],
    *,
    seed: int,
    start_batch: int = 0,
    global_batch: int,
    part: slice = slice(None),
) -> Iterator[dict[str, Tensor]]:
    """Batches of a training, varied: the draws are keyed by (seed, number of the batch) for the whole global batch.

    ``start_batch`` is the first one's number; ``part`` is the rank's part of each global batch.
    """
    for number, batch in enumerate(batches, start=start_batch):
        draws = StepDraws(seed, number, global_batch=global_batch, part=part)
        # What else a batch says about the true pose is not mirrored along.
        yield augment({key: value for key, value in batch.items() if key != "gt_mm"}, draws)
