"""Errors and scores of 3D poses as free functions, then reductions over hypotheses.

Poses are ``(..., J, 3)`` in millimetres, root-centred. Leading axes broadcast: ``truth[:, None]`` scores the H
hypotheses of each of B frames. Shapes that do not fit raise ValueError.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.geometry import check_pair, check_poses, scale_align, similarity_align
from utils.skeleton import Skeleton

PCK_THRESHOLD_MM = 150.0
CPS_MAX_MM = 300


@dataclass(frozen=True)
class Metric:
    """One column of a result: its key, its heading, its unit, and whether higher is better.

    Shares are stored as 0..1 and shown in percent (``unit`` '%').
    """

    key: str
    label: str
    unit: str
    higher_is_better: bool = False


METRICS = (
    Metric("mpjpe", "MPJPE", "mm"),
    Metric("pa_mpjpe", "PA-MPJPE", "mm"),
    Metric("mpjpe_sc", "MPJPE-SC", "mm"),
    Metric("pck", "PCK", "%", higher_is_better=True),
    Metric("pck_sc", "PCK-SC", "%", higher_is_better=True),
    Metric("cps", "CPS", "mm", higher_is_better=True),
    Metric("symmetry", "Symmetry", "mm"),
)


def _check_skeleton(poses: Tensor, skeleton: Skeleton) -> None:
    if poses.shape[-2] != skeleton.num_joints:
        raise ValueError(f"{skeleton.name} has {skeleton.num_joints} joints, got poses {tuple(poses.shape)}")


def _check_hypotheses(hypotheses: Tensor) -> None:
    check_poses(hypotheses, "hypotheses")
    if hypotheses.ndim != 4 or hypotheses.shape[1] == 0:
        raise ValueError(f"hypotheses must be (B, H, J, 3) with H > 0, got {tuple(hypotheses.shape)}")


def _joint_mask(joints: tuple[int, ...], distances: Tensor) -> Tensor:
    """(J,): 1 for the joints that count, 0 for the others. A product keeps the memory layout; indexing would not."""
    mask = distances.new_zeros(distances.shape[-1])
    mask[list(joints)] = 1
    return mask


def _lengths(vectors: Tensor) -> Tensor:
    """Euclidean length (...) of vectors (..., 3), which are overwritten."""
    # Written out, because torch's sum is ten times slower along such a short axis.
    x, y, z = vectors.square_().unbind(-1)
    return (x + y).add_(z).sqrt_()


def joint_distances(poses: Tensor, truth: Tensor) -> Tensor:
    """Euclidean distance of each joint (..., J), mm."""
    check_pair(poses, truth)
    return _lengths(poses - truth)


def mpjpe(poses: Tensor, truth: Tensor) -> Tensor:
    """Mean per-joint position error (...), mm: Protocol I, root-aligned."""
    return joint_distances(poses, truth).mean(-1)


def pa_mpjpe(poses: Tensor, truth: Tensor) -> Tensor:
    """MPJPE after similarity alignment (...), mm: Protocol II."""
    return mpjpe(similarity_align(poses, truth), truth)


def mpjpe_sc(poses: Tensor, truth: Tensor) -> Tensor:
    """MPJPE after scaling to the truth's Frobenius norm (...), mm."""
    return mpjpe(scale_align(poses, truth), truth)


def share_within(distances: Tensor, skeleton: Skeleton, threshold_mm: float = PCK_THRESHOLD_MM) -> Tensor:
    """Share (...) of the skeleton's PCK joints whose distance (..., J) is strictly below the threshold."""
    within = (distances < threshold_mm) * _joint_mask(skeleton.pck_joints, distances)
    return within.sum(-1) / len(skeleton.pck_joints)


def pck(poses: Tensor, truth: Tensor, skeleton: Skeleton, threshold_mm: float = PCK_THRESHOLD_MM) -> Tensor:
    """3DPCK (...): share of the skeleton's PCK joints strictly closer to the truth than the threshold."""
    _check_skeleton(poses, skeleton)
    return share_within(joint_distances(poses, truth), skeleton, threshold_mm)


def worst_joint(distances: Tensor, skeleton: Skeleton) -> Tensor:
    """Largest distance (...) over the skeleton's CPS joints, from (..., J): all that CPS needs."""
    return (distances * _joint_mask(skeleton.cps_joints, distances)).amax(-1)


def cps_from_worst(worst_mm: Tensor) -> Tensor:
    """Correct-poses score (...) from the largest joint distance after similarity alignment, 0 .. 299 mm.

    A pose is correct at threshold th if that distance is below th; the score is the trapezoid rule over th = 1, 2,
    .. 300 mm (Wandt et al. 2021). A perfect pose therefore scores 299, not 300, as in the literature.
    """
    first_correct = worst_mm.floor() + 1
    score = CPS_MAX_MM + 0.5 - first_correct
    score = torch.where(first_correct == 1, CPS_MAX_MM - 1.0, score)
    return score.clamp_min(0)


def cps_curve(scores: np.ndarray) -> np.ndarray:
    """Share of frames (300,) whose pose is correct at th = 1 .. 300 mm, from the frames' CPS (F,).

    The trapezoid rule over this curve gives the mean of the scores again.
    """
    scores = np.asarray(scores, dtype=np.float64)
    first_correct = np.where(scores > CPS_MAX_MM - 1.25, 1, CPS_MAX_MM + 0.5 - scores).astype(np.int64)
    first_correct = first_correct[scores > 0]
    return np.bincount(first_correct, minlength=CPS_MAX_MM + 1)[1:].cumsum() / len(scores)


def cps(poses: Tensor, truth: Tensor, skeleton: Skeleton) -> Tensor:
    """Correct-poses score (...) of poses against the truth; the literature takes the maximum over hypotheses."""
    _check_skeleton(poses, skeleton)
    return cps_from_worst(worst_joint(joint_distances(similarity_align(poses, truth), truth), skeleton))


def symmetry(poses: Tensor, skeleton: Skeleton) -> Tensor:
    """Mean absolute length difference (...) of the skeleton's left/right bone pairs, mm."""
    check_poses(poses)
    _check_skeleton(poses, skeleton)
    bones = [bone for pair in skeleton.symmetric_bones for bone in pair]
    ends = poses[..., [bone[0] for bone in bones], :] - poses[..., [bone[1] for bone in bones], :]
    lengths = _lengths(ends)  # (..., 2 * pairs)
    return (lengths[..., 0::2] - lengths[..., 1::2]).abs_().mean(-1)


def pose_scores(poses: Tensor, truth: Tensor, skeleton: Skeleton) -> dict[str, Tensor]:
    """Every metric of METRICS for each pose: dict of (...); one alignment serves PA-MPJPE and CPS.

    Laying hypotheses out with :func:`utils.geometry.coordinate_major` first makes this several times faster.
    """
    _check_skeleton(poses, skeleton)
    plain = joint_distances(poses, truth)
    scaled = joint_distances(scale_align(poses, truth), truth)
    aligned = joint_distances(similarity_align(poses, truth), truth)
    return {
        "mpjpe": plain.mean(-1),
        "pa_mpjpe": aligned.mean(-1),
        "mpjpe_sc": scaled.mean(-1),
        "pck": share_within(plain, skeleton),
        "pck_sc": share_within(scaled, skeleton),
        "cps": cps_from_worst(worst_joint(aligned, skeleton)),
        "symmetry": symmetry(poses, skeleton).expand(plain.shape[:-1]),
    }


def lower_median(values: Tensor, dim: int = -1) -> Tensor:
    """The median along an axis as torch.median has it: the lower middle value, such as the 100th smallest of 200."""
    if values.device.type != "cpu":
        return values.median(dim).values
    # numpy's selection is a few times faster than torch's along contiguous hypotheses.
    array = values.detach().movedim(dim, -1).numpy()
    middle = (array.shape[-1] - 1) // 2
    return torch.from_numpy(np.partition(array, middle, axis=-1)[..., middle])


def reduce_hypotheses(scores: Tensor, *, higher_is_better: bool) -> dict[str, Tensor]:
    """Best, median, mean and worst (B,) over the hypotheses of (B, H) scores."""
    low, high = scores.aminmax(dim=-1)
    best, worst = (high, low) if higher_is_better else (low, high)
    return {"best": best, "median": lower_median(scores), "mean": scores.mean(-1), "worst": worst}


def best_so_far(errors: Tensor) -> Tensor:
    """Error (B, H) of the best of the first 1, 2, .. H hypotheses, in their order."""
    return errors.cummin(-1).values


def median_pose(hypotheses: Tensor) -> Tensor:
    """Median of each joint's coordinates (B, J, 3) over hypotheses (B, H, J, 3)."""
    _check_hypotheses(hypotheses)
    return lower_median(hypotheses, dim=1)


def spread(hypotheses: Tensor) -> Tensor:
    """Standard deviation (unbiased) over hypotheses (B, H, J, 3), per joint and axis (B, J, 3), mm; H >= 2."""
    _check_hypotheses(hypotheses)
    if hypotheses.shape[1] < 2:
        raise ValueError("the spread of a single hypothesis is not defined")
    centred = hypotheses - hypotheses.mean(1, keepdim=True)
    return (centred.square_().sum(1) / (hypotheses.shape[1] - 1)).sqrt_()


def energy_score(hypotheses: Tensor, truth: Tensor) -> Tensor:
    """Energy score (B,), mm, of hypotheses (B, H, J, 3) as a distribution, given the truth (B, J, 3); lower is better.

    mean_h |X_h - y| - 1/2 mean_hh' |X_h - X_h'| over all H^2 pairs, with |.| the length of the flattened pose divided
    by sqrt(J) (Gneiting and Raftery 2007, Eq. 22). A proper score: only the true distribution minimises its mean, so
    neither too narrow nor too wide a spread pays. For a single hypothesis it is the distance to the truth.
    """
    _check_hypotheses(hypotheses)
    # In double precision: squared lengths are differences of large numbers, and the spread may be small.
    centre = hypotheses.double().mean(1, keepdim=True)
    samples = (hypotheses.double() - centre).flatten(2)  # (B, H, 3 J)
    target = (truth.double()[:, None] - centre).flatten(2)  # (B, 1, 3 J)
    squares = samples.square().sum(-1)
    pairs = squares[:, :, None] + squares[:, None] - 2 * samples @ samples.transpose(1, 2)  # (B, H, H)
    pairs = pairs.clamp_min_(0).sqrt_().mean((1, 2))
    return (((samples - target).norm(dim=-1).mean(1) - pairs / 2) / truth.shape[-2] ** 0.5).to(hypotheses.dtype)


def truth_ranks(hypotheses: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """How many hypotheses are strictly closer to, and how many strictly farther from, the median pose than the truth.

    ``hypotheses`` (B, H, J, 3), ``truth`` (B, J, 3); returns two counts (B, J).
    """
    centre = median_pose(hypotheses)
    distances = joint_distances(hypotheses, centre[:, None])  # (B, H, J)
    truth_distance = joint_distances(truth, centre)[:, None]
    return (distances < truth_distance).sum(1), (distances > truth_distance).sum(1)


def truth_quantile(hypotheses: Tensor, truth: Tensor) -> Tensor:
    """Share (B, J) of hypotheses farther from the per-axis median pose than the truth is.

    The literature calls its average 'ECE', but it is no calibration error: an ideal sampler gives 0.5 on average, an
    overconfident one less, an underconfident one more. :mod:`utils.evaluation.calibration` has a calibration error.
    """
    return truth_ranks(hypotheses, truth)[1] / hypotheses.shape[1]
