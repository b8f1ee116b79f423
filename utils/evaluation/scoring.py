"""Scoring of sampled hypotheses: one loop for every split and every source of predictions.

Three kinds of numbers are kept apart: *oracle* ones (best, worst, median, mean of the errors) need the truth; *usable*
ones score a single pose made from the hypotheses without the truth; *blind* ones never saw the image.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from utils.distributed import SINGLE, Processes
from utils.errors import DiffPoseError
from utils.evaluation.baselines import ImageBlindBaseline
from utils.evaluation.consensus import Estimator
from utils.evaluation.frame_scores import FrameScores, score_frames
from utils.evaluation.recordings import Recordings
from utils.evaluation.split_result import BY_ACTION, BY_FRAME, SplitInfo, SplitResult
from utils.evaluation.totals import Totals, summarise
from utils.skeleton import JointSet, Skeleton

ALL_FRAMES = "all"


def _check_finite(name: str, poses: Tensor, rows: np.ndarray, split: str) -> None:
    finite = poses.flatten(1).sum(1).isfinite()
    if not bool(finite.all()):
        row = rows[int((~finite).nonzero()[0])]
        raise DiffPoseError(f"split '{split}', row {row}: {name} holds a number that is not finite; nothing was scored")


@dataclass(frozen=True)
class _Frames:
    """The usable frames of a batch, on one device; ``skipped`` has the row numbers of the others."""

    rows: np.ndarray
    poses: dict[str, Tensor]
    heatmaps: Tensor | None
    skipped: list[int]


def _usable_frames(batch: Mapping, split: str) -> _Frames:
    rows = torch.as_tensor(batch["row"]).cpu().numpy()
    valid = torch.as_tensor(batch.get("valid", np.ones(len(rows), dtype=bool))).cpu().numpy()
    skipped, rows = rows[~valid].tolist(), rows[valid]
    poses: dict[str, Tensor] = {}
    heatmaps = batch.get("heatmap")
    if not valid.any():
        return _Frames(rows, poses, None, skipped)
    for key in ("hypotheses_mm", "gt_mm", "z0_mm"):
        if batch.get(key) is None:
            continue
        value = torch.as_tensor(batch[key]).detach()
        device = poses.get("hypotheses_mm", value).device
        poses[key] = value.to("cpu" if device.type == "mps" else device)[torch.from_numpy(valid).to(device)]
        _check_finite(key, poses[key], rows, split)
    if heatmaps is not None:
        heatmaps = torch.as_tensor(heatmaps)[torch.from_numpy(valid)].to(poses["hypotheses_mm"].device)
    return _Frames(rows, poses, heatmaps, skipped)


def _group_names(groups: Mapping[int, str] | None, rows: list[int], split: str) -> list[str]:
    """The group of each row. Raises DiffPoseError for a row that has none."""
    if groups is None:
        return [ALL_FRAMES] * len(rows)
    for row in rows:
        if row not in groups:
            raise DiffPoseError(f"split '{split}': row {row} is not among the rows of the data file")
    return [groups[row] for row in rows]


def _score(
    frames: _Frames,
    skeleton: Skeleton,
    estimators: Mapping[str, Estimator] | None,
    blind: ImageBlindBaseline | None,
    joint_set: JointSet | None,
) -> FrameScores:
    return score_frames(
        frames.poses["hypotheses_mm"],
        frames.poses.get("z0_mm"),
        frames.poses["gt_mm"],
        skeleton,
        estimators=estimators,
        heatmaps=frames.heatmaps,
        blind_mean_pose=blind.mean_pose if blind else None,
        blind_mm=blind.draw(frames.rows) if blind else None,
        joint_set=joint_set,
    )


def _collect(totals: Totals | None, skipped: list[int], processes: Processes) -> tuple[Totals | None, list[int]]:
    """The frames and skipped rows of all processes in the main one; in the others, their own."""
    collected = processes.gather((totals, skipped))
    if not processes.is_main:
        return totals, skipped
    parts = [part for part, _ in collected if part is not None]
    for other in parts[1:]:
        parts[0].merge(other)
    return parts[0] if parts else None, [row for _, rows in collected for row in rows]


def evaluate(
    batches: Iterable[Mapping],
    *,
    skeleton: Skeleton,
    info: SplitInfo,
    groups: Mapping[int, str] | None = None,
    averaging: str = BY_FRAME,
    expected_groups: Sequence[str] = (),
    subsets: Mapping[str, Collection[int]] | None = None,
    recordings: Recordings | None = None,
    joint_set: JointSet | None = None,
    blind: ImageBlindBaseline | None = None,
    estimators: Mapping[str, Estimator] | None = None,
    skipped_rows: Sequence[int] = (),
    processes: Processes = SINGLE,
) -> SplitResult | None:
    """Score a stream of batches; memory does not grow with frames x H x J.

    Args:
        batches: dicts with ``row`` (B,), ``hypotheses_mm`` (B, H, J, 3), ``gt_mm`` (B, J, 3), optionally ``z0_mm``
            (B, J, 3) or None, ``heatmap`` (B, 16, 64, 64) and ``valid`` (B,) bool: rows that are not valid are left out
            and listed as skipped. Poses are root-centred, mm, evaluation frame: tensors on any device, or arrays.
        groups: row -> action (or TS1..TS6); without it all frames form one group.
        averaging: 'by action': each metric over a group's frames, then over the groups present; or 'by frame'.
        expected_groups: groups that should occur; those without a frame are reported by name.
        subsets: name -> rows of the file; the averages over each part's frames are reported as well.
        recordings: which rows belong together, for averages in which each recording counts alike.
        joint_set: score these joints only, rooted at the middle of the hips.
        blind: adds the image-blind rows.
        estimators: key -> rule of utils.evaluation.consensus that makes one usable pose; by default the mean pose.
        skipped_rows: rows that the caller has already left out.
        processes: each scores a part of the split; the main one gets the result, the others None.

    Raises:
        DiffPoseError: no frame, a pose that is not finite, or a row whose group is unknown.
        ValueError: shapes that do not fit, or an unknown averaging.
    """
    if averaging not in (BY_ACTION, BY_FRAME):
        raise ValueError(f"averaging is '{BY_ACTION}' or '{BY_FRAME}', not '{averaging}'")
    totals: Totals | None = None
    skipped = [int(row) for row in skipped_rows]
    for batch in batches:
        frames = _usable_frames(batch, info.split)
        skipped += frames.skipped
        if not len(frames.rows):
            continue
        count = frames.poses["hypotheses_mm"].shape[1]
        totals = totals or Totals(joint_set.skeleton if joint_set else skeleton, count)
        if count != totals.num_hypotheses:
            raise ValueError(f"batches of {totals.num_hypotheses} and of {count} hypotheses in one split")
        rows = frames.rows.tolist()
        names = _group_names(groups, rows, info.split)
        scores = _score(frames, skeleton, estimators, blind, joint_set)
        totals.add(scores, rows, names, _group_names(recordings.of_row, rows, info.split) if recordings else [])
    totals, skipped = _collect(totals, skipped, processes)
    if not processes.is_main:
        return None
    if totals is None:
        raise DiffPoseError(f"split '{info.split}' has no frame to score: check its subjects, actions and stride")
    return summarise(totals, info, averaging, expected_groups, subsets or {}, recordings, skipped)
