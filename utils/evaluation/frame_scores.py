"""All metrics of all hypotheses of a batch of frames, reduced to a few numbers per frame."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.evaluation.consensus import Estimator, mean_pose
from utils.evaluation.metrics import (
    METRICS,
    best_so_far,
    energy_score,
    pose_scores,
    reduce_hypotheses,
    spread,
    truth_ranks,
)
from utils.geometry import coordinate_major
from utils.skeleton import JointSet, Skeleton

CURVES = ("mpjpe", "pa_mpjpe")
# Keeps the temporaries of one scoring call at a few tens of MB, whatever the batch size.
POSES_PER_CHUNK = 16_384

DEFAULT_ESTIMATORS: Mapping[str, Estimator] = {"mean_pose": mean_pose}


@dataclass
class FrameScores:
    """Statistics of B frames, on the CPU.

    Attributes:
        scores: row of the table -> (B, M) float32, in the order of METRICS. Rows: best, median, mean, worst, each
            estimator's key, and, where given, zero_noise, blind_mean_pose, blind_best.
        best_of_n: 'mpjpe' and 'pa_mpjpe' -> (B, H): error of the best of the first 1 .. H hypotheses.
        closer, farther: (B, J) hypotheses closer to and farther from the median pose than the truth.
        energy: (B,) energy score, mm.
        spread: (B, J, 3) standard deviation over hypotheses, mm; None for a single hypothesis.
    """

    scores: dict[str, np.ndarray]
    best_of_n: dict[str, np.ndarray]
    closer: np.ndarray
    farther: np.ndarray
    energy: np.ndarray
    spread: np.ndarray | None


def _stacked(scores: Mapping[str, Tensor]) -> np.ndarray:
    return torch.stack([scores[metric.key] for metric in METRICS], dim=-1).float().cpu().numpy()


def _reduced(scores: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    reduced = {m.key: reduce_hypotheses(scores[m.key], higher_is_better=m.higher_is_better) for m in METRICS}
    return {row: _stacked({key: rows[row] for key, rows in reduced.items()}) for row in reduced["mpjpe"]}


def _score_chunk(
    hypotheses: Tensor, truth: Tensor, singles: dict[str, Tensor], blind: Tensor | None, skeleton: Skeleton
) -> FrameScores:
    number = hypotheses.shape[1]
    # The single poses are scored together with the hypotheses: one pass costs less than two.
    poses = coordinate_major(torch.cat((hypotheses, torch.stack(list(singles.values()), dim=1)), dim=1))
    every = pose_scores(poses, truth[:, None], skeleton)  # each (B, H + singles)
    hypotheses, errors = poses[:, :number], {key: values[:, :number] for key, values in every.items()}
    scores = _reduced(errors)
    for i, row in enumerate(singles, start=number):
        scores[row] = _stacked({key: values[:, i] for key, values in every.items()})
    if blind is not None:
        scores["blind_best"] = _reduced(pose_scores(coordinate_major(blind), truth[:, None], skeleton))["best"]
    closer, farther = truth_ranks(hypotheses, truth)
    return FrameScores(
        scores=scores,
        best_of_n={key: best_so_far(errors[key]).cpu().numpy() for key in CURVES},
        closer=closer.cpu().numpy(),
        farther=farther.cpu().numpy(),
        energy=energy_score(hypotheses, truth).cpu().numpy(),
        spread=spread(hypotheses).cpu().numpy() if hypotheses.shape[1] > 1 else None,
    )


def _concatenate(parts: list[FrameScores]) -> FrameScores:
    if len(parts) == 1:
        return parts[0]
    return FrameScores(
        scores={row: np.concatenate([part.scores[row] for part in parts]) for row in parts[0].scores},
        best_of_n={key: np.concatenate([part.best_of_n[key] for part in parts]) for key in CURVES},
        closer=np.concatenate([part.closer for part in parts]),
        farther=np.concatenate([part.farther for part in parts]),
        energy=np.concatenate([part.energy for part in parts]),
        spread=None if parts[0].spread is None else np.concatenate([part.spread for part in parts]),
    )


def score_frames(
    hypotheses_mm: Tensor,
    z0_mm: Tensor | None,
    gt_mm: Tensor,
    skeleton: Skeleton,
    *,
    estimators: Mapping[str, Estimator] | None = None,
    heatmaps: Tensor | None = None,
    blind_mean_pose: Tensor | None = None,
    blind_mm: Tensor | None = None,
    joint_set: JointSet | None = None,
) -> FrameScores:
    """Score B frames; all poses root-centred, mm, evaluation frame, on one device.

    Args:
        hypotheses_mm: (B, H, J, 3).
        z0_mm: (B, J, 3) zero-noise estimate, or None.
        gt_mm: (B, J, 3).
        estimators: key -> rule of utils.evaluation.consensus, left out if it gives None; by default the mean pose.
        heatmaps: (B, 16, 64, 64) for the rules that use them, or None.
        blind_mean_pose: (J, 3), and ``blind_mm`` (B, H', J, 3): the image-blind baselines, or None.
        joint_set: score these joints only; J is then their number in the result. Estimators still see whole poses.

    Raises:
        ValueError: shapes that do not fit the skeleton or each other.
    """
    shape = (len(gt_mm), skeleton.num_joints, 3)
    if hypotheses_mm.ndim != 4 or hypotheses_mm.shape[1] == 0 or tuple(hypotheses_mm[:, 0].shape) != shape:
        raise ValueError(f"hypotheses must be {(shape[0], 'H', *shape[1:])}, got {tuple(hypotheses_mm.shape)}")
    if any(tuple(pose.shape) != shape for pose in (gt_mm, z0_mm) if pose is not None):
        raise ValueError(f"the truth and the zero-noise estimate must be {shape}")
    estimators = DEFAULT_ESTIMATORS if estimators is None else estimators
    parts = []
    for part in torch.arange(len(gt_mm)).split(max(1, POSES_PER_CHUNK // hypotheses_mm.shape[1])):
        chosen = slice(int(part[0]), int(part[-1]) + 1)
        truth, hypotheses = gt_mm[chosen], hypotheses_mm[chosen]
        maps = None if heatmaps is None else heatmaps[chosen]
        estimates = {key: estimate(hypotheses, maps) for key, estimate in estimators.items()}
        singles = {key: pose for key, pose in estimates.items() if pose is not None}
        if z0_mm is not None:
            singles["zero_noise"] = z0_mm[chosen]
        if blind_mean_pose is not None:
            singles["blind_mean_pose"] = blind_mean_pose.to(truth).expand_as(truth)
        blind = None if blind_mm is None else blind_mm[chosen].to(truth)
        if joint_set is not None:
            hypotheses, truth = joint_set.select(hypotheses), joint_set.select(truth)
            singles = {key: joint_set.select(pose) for key, pose in singles.items()}
            blind = None if blind is None else joint_set.select(blind)
        parts.append(_score_chunk(hypotheses, truth, singles, blind, joint_set.skeleton if joint_set else skeleton))
    return _concatenate(parts)
