"""Scoring of sampled hypotheses: one loop for every split and every source of predictions.

Numbers of three kinds are kept apart: *oracle* ones (best, worst, median, mean of the errors) need the truth; *usable*
ones score a single pose that was made of the hypotheses without the truth; *blind* ones never saw the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from utils.baselines import ImageBlindBaseline
from utils.calibration import Calibration, CalibrationCounter
from utils.consensus import Estimator, mean_pose
from utils.distributed import SINGLE, Processes
from utils.errors import DiffPoseError
from utils.geometry import coordinate_major
from utils.metrics import METRICS, best_so_far, cps_curve, pose_scores, reduce_hypotheses, spread, truth_ranks
from utils.skeleton import Skeleton

BY_ACTION = "by action"
BY_FRAME = "by frame"
ALL_FRAMES = "all"
CURVES = ("mpjpe", "pa_mpjpe")
# Bounds the temporaries of one scoring call to a few tens of MB, whatever the batch size.
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
        spread: (B, J, 3) standard deviation over hypotheses, mm; None for a single hypothesis.
    """

    scores: dict[str, np.ndarray]
    best_of_n: dict[str, np.ndarray]
    closer: np.ndarray
    farther: np.ndarray
    spread: np.ndarray | None


def _stacked(scores: Mapping[str, Tensor]) -> np.ndarray:
    return torch.stack([scores[metric.key] for metric in METRICS], dim=-1).float().cpu().numpy()


def _reduced(scores: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    reduced = {m.key: reduce_hypotheses(scores[m.key], higher_is_better=m.higher_is_better) for m in METRICS}
    return {row: _stacked({key: rows[row] for key, rows in reduced.items()}) for row in reduced["mpjpe"]}


def _score_chunk(hypotheses: Tensor, truth: Tensor, singles: dict[str, Tensor], blind: Tensor | None,
                 skeleton: Skeleton) -> FrameScores:  # fmt: skip
    number = hypotheses.shape[1]
    # The single poses ride along as further hypotheses: one pass costs less than two.
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
        spread=None if parts[0].spread is None else np.concatenate([part.spread for part in parts]),
    )


def score_frames(hypotheses_mm: Tensor, z0_mm: Tensor | None, gt_mm: Tensor, skeleton: Skeleton, *,
                 estimators: Mapping[str, Estimator] | None = None, heatmaps: Tensor | None = None,
                 blind_mean_pose: Tensor | None = None, blind_mm: Tensor | None = None) -> FrameScores:  # fmt: skip
    """Score B frames; all poses root-centred, mm, evaluation frame, on one device.

    Args:
        hypotheses_mm: (B, H, J, 3).
        z0_mm: (B, J, 3) zero-noise estimate, or None.
        gt_mm: (B, J, 3).
        estimators: key -> rule of :mod:`utils.consensus`, left out where it gives None; the mean pose by default.
        heatmaps: (B, 16, 64, 64) for the rules that look at them, or None.
        blind_mean_pose: (J, 3), and ``blind_mm`` (B, H', J, 3): the image-blind baselines, or None.

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
        singles = {key: estimate(hypotheses, maps) for key, estimate in estimators.items()}
        singles = {key: pose for key, pose in singles.items() if pose is not None}
        if z0_mm is not None:
            singles["zero_noise"] = z0_mm[chosen]
        if blind_mean_pose is not None:
            singles["blind_mean_pose"] = blind_mean_pose.to(truth).expand_as(truth)
        blind = None if blind_mm is None else blind_mm[chosen].to(truth)
        parts.append(_score_chunk(hypotheses, truth, singles, blind, skeleton))
    return _concatenate(parts)


@dataclass(frozen=True, kw_only=True)
class SplitInfo:
    """Where a split's numbers come from: everything that must stand beside them.

    ``source`` is the data file's own statement (the benchmark's begins with 'synthetic'); ``is_human36m`` allows the
    comparison with published numbers; ``stride`` is the step between evaluated rows of the file's test table.
    """

    split: str
    dataset: str
    source: str
    is_human36m: bool = False
    stride: int = 1
    seed: int | None = None
    weights: str = ""
    checkpoint: str = ""
    precision: str = "float32"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupResult:
    """Averages over one action's (or test sequence's) frames: row -> metric -> value."""

    num_frames: int
    rows: dict[str, dict[str, float]]


@dataclass(frozen=True)
class SplitResult:
    """Everything measured on one split; lengths in mm, PCK as a share 0..1, CPS 0..299.

    Attributes:
        info: where the numbers come from.
        num_frames, num_hypotheses: frames scored, H.
        averaging: 'by action' (frames, then actions present) or 'by frame'.
        skeleton, joints: the joint set's name and its joints in order.
        rows: row of the table -> metric key -> average.
        groups: action -> its own averages; ``missing_groups`` names the expected ones without a frame.
        best_of_n: 'mpjpe', 'pa_mpjpe' -> H averages, of the best of the first 1 .. H hypotheses.
        calibration: None for fewer than two hypotheses; like the spread, averaged over frames.
        spread_mm: (J, 3) standard deviation over hypotheses per joint and axis, mean over frames; None likewise.
        sharpness_mm: mean over frames and non-root joints of the spread's length, sqrt(sd_x^2 + sd_y^2 + sd_z^2).
        cps_curve: share of frames whose best hypothesis is correct at 1 .. 300 mm.
        skipped_rows: row numbers left out because their data could not be used.
    """

    info: SplitInfo
    num_frames: int
    num_hypotheses: int
    averaging: str
    skeleton: str
    joints: tuple[str, ...]
    rows: dict[str, dict[str, float]]
    groups: dict[str, GroupResult]
    missing_groups: tuple[str, ...]
    best_of_n: dict[str, tuple[float, ...]]
    calibration: Calibration | None
    spread_mm: tuple[tuple[float, ...], ...] | None
    sharpness_mm: float | None
    cps_curve: tuple[float, ...]
    skipped_rows: tuple[int, ...]

    def to_dict(self) -> dict:
        """Plain dicts, lists and numbers; nothing in it is NaN."""
        return asdict(self)


@dataclass
class _Totals:
    """What the loop keeps: a few numbers a frame, and sums whose size depends on H, J and the groups only."""

    skeleton: Skeleton
    num_hypotheses: int
    groups: list[str] = field(default_factory=list)
    scores: dict[str, list[np.ndarray]] = field(default_factory=dict)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    spread: np.ndarray | float = 0.0
    sharpness: float = 0.0

    def __post_init__(self):
        many = self.num_hypotheses > 1
        self.calibration = None
        if many:
            self.calibration = CalibrationCounter(num_hypotheses=self.num_hypotheses, joints=self.skeleton.joints)

    def add(self, frames: FrameScores, groups: list[str]) -> None:
        self.groups += groups
        for row, scores in frames.scores.items():
            self.scores.setdefault(row, []).append(scores)
        curves = np.stack([frames.best_of_n[key] for key in CURVES], axis=1)  # (B, 2, H)
        for group in set(groups):
            mine = curves[[g == group for g in groups]].sum(0, dtype=np.float64)
            self.curves[group] = self.curves.get(group, 0.0) + mine
        if self.calibration is not None:
            self.calibration.add(frames.closer, frames.farther)
            self.spread = self.spread + frames.spread.sum(0, dtype=np.float64)
            lengths = np.sqrt(np.square(frames.spread[:, 1:], dtype=np.float64).sum(-1))
            self.sharpness += float(lengths.mean(-1).sum())

    def merge(self, other: "_Totals") -> None:
        """Add the frames that another process has scored: those after this one's."""
        self.groups += other.groups
        for row, parts in other.scores.items():
            self.scores.setdefault(row, []).extend(parts)
        for group, curve in other.curves.items():
            self.curves[group] = self.curves.get(group, 0.0) + curve
        if self.calibration is not None:
            self.calibration.merge(other.calibration)
            self.spread = self.spread + other.spread
            self.sharpness += other.sharpness


def _as_dict(averages: np.ndarray) -> dict[str, float]:
    return {metric.key: float(value) for metric, value in zip(METRICS, averages, strict=True)}


def _summarise(totals: _Totals, info: SplitInfo, averaging: str, expected: Sequence[str],
               skipped: list[int]) -> SplitResult:  # fmt: skip
    names = [name for name in dict.fromkeys([*expected, *sorted(set(totals.groups))]) if name in totals.curves]
    number = np.array([names.index(group) for group in totals.groups])
    frames_in = np.bincount(number, minlength=len(names))
    per_group = {}
    for row, parts in totals.scores.items():
        scores = np.concatenate(parts).astype(np.float64)  # (F, M)
        sums = np.stack([np.bincount(number, weights=column, minlength=len(names)) for column in scores.T], axis=1)
        per_group[row] = sums / frames_in[:, None]  # (G, M)
    weights = np.ones(len(names)) if averaging == BY_ACTION else frames_in.astype(np.float64)
    weights /= weights.sum()
    curves = sum(w * totals.curves[name] / n for name, w, n in zip(names, weights, frames_in, strict=True))
    cps_column = [metric.key for metric in METRICS].index("cps")
    best_cps = np.concatenate(totals.scores["best"])[:, cps_column]
    cps_curves = [cps_curve(best_cps[number == g]) for g in range(len(names))]
    frames, calibration = len(number), totals.calibration
    return SplitResult(
        info=info,
        num_frames=frames,
        num_hypotheses=totals.num_hypotheses,
        averaging=averaging,
        skeleton=totals.skeleton.name,
        joints=totals.skeleton.joints,
        rows={row: _as_dict(weights @ averages) for row, averages in per_group.items()},
        groups={
            name: GroupResult(int(frames_in[g]), {row: _as_dict(a[g]) for row, a in per_group.items()})
            for g, name in enumerate(names)
        },
        missing_groups=tuple(name for name in expected if name not in totals.curves),
        best_of_n={key: tuple(curves[i].tolist()) for i, key in enumerate(CURVES)},
        calibration=calibration.result() if calibration else None,
        spread_mm=tuple(map(tuple, (totals.spread / frames).tolist())) if calibration else None,
        sharpness_mm=totals.sharpness / frames if calibration else None,
        cps_curve=tuple((weights @ np.stack(cps_curves)).tolist()),
        skipped_rows=tuple(sorted(set(skipped))),
    )


def _check_finite(name: str, poses: Tensor, rows: np.ndarray, split: str) -> None:
    finite = poses.flatten(1).sum(1).isfinite()
    if not bool(finite.all()):
        row = rows[int((~finite).nonzero()[0])]
        raise DiffPoseError(f"split '{split}', row {row}: {name} holds a number that is not finite; nothing was scored")


def evaluate(batches: Iterable[Mapping], *, skeleton: Skeleton, info: SplitInfo,
             groups: Mapping[int, str] | None = None, averaging: str = BY_FRAME,
             expected_groups: Sequence[str] = (), blind: ImageBlindBaseline | None = None,
             estimators: Mapping[str, Estimator] | None = None,
             skipped_rows: Sequence[int] = (), processes: Processes = SINGLE) -> SplitResult | None:  # fmt: skip
    """Score a stream of batches; memory does not grow with frames x H x J.

    Args:
        batches: dicts with ``row`` (B,), ``hypotheses_mm`` (B, H, J, 3), ``gt_mm`` (B, J, 3), optionally ``z0_mm``
            (B, J, 3) or None, ``heatmap`` (B, 16, 64, 64) and ``valid`` (B,) bool: rows that are not valid are left out
            and listed as skipped.
            Poses are root-centred, mm, evaluation frame; tensors of any device, or arrays.
        groups: row -> action (or TS1..TS6); without it all frames form one group.
        averaging: 'by action': each metric over a group's frames, then over the groups present; or 'by frame'.
        expected_groups: groups that should be there; those without a frame are reported by name.
        blind: adds the image-blind rows.
        estimators: key -> rule of :mod:`utils.consensus` that makes one usable pose; the mean pose by default.
        skipped_rows: rows that the caller already left out.
        processes: those that each score a part of the split; the main one alone gets the result, the others None.

    Raises:
        DiffPoseError: no frame, a pose that is not finite, or a row that no group is known for.
        ValueError: shapes that do not fit, or an unknown averaging.
    """
    if averaging not in (BY_ACTION, BY_FRAME):
        raise ValueError(f"averaging is '{BY_ACTION}' or '{BY_FRAME}', not '{averaging}'")
    totals, skipped = None, [int(row) for row in skipped_rows]
    for batch in batches:
        rows = torch.as_tensor(batch["row"]).cpu().numpy()
        valid = torch.as_tensor(batch.get("valid", np.ones(len(rows), dtype=bool))).cpu().numpy()
        skipped += rows[~valid].tolist()
        if not valid.any():
            continue
        rows = rows[valid]
        poses = {}
        for key in ("hypotheses_mm", "gt_mm", "z0_mm"):
            if batch.get(key) is None:
                continue
            value = torch.as_tensor(batch[key]).detach()
            device = poses.get("hypotheses_mm", value).device
            poses[key] = value.to("cpu" if device.type == "mps" else device)[torch.from_numpy(valid).to(device)]
            _check_finite(key, poses[key], rows, info.split)
        num_hypotheses = poses["hypotheses_mm"].shape[1]
        totals = totals or _Totals(skeleton, num_hypotheses)
        if num_hypotheses != totals.num_hypotheses:
            raise ValueError(f"batches of {totals.num_hypotheses} and of {num_hypotheses} hypotheses in one split")
        if (heatmaps := batch.get("heatmap")) is not None:
            heatmaps = torch.as_tensor(heatmaps)[torch.from_numpy(valid)].to(poses["hypotheses_mm"].device)
        unknown = [row for row in rows.tolist() if groups is not None and row not in groups]
        if unknown:
            raise DiffPoseError(f"split '{info.split}': row {unknown[0]} is not among the rows of the data file")
        frames = score_frames(
            poses["hypotheses_mm"], poses.get("z0_mm"), poses["gt_mm"], skeleton, estimators=estimators,
            heatmaps=heatmaps, blind_mean_pose=blind and blind.mean_pose, blind_mm=blind and blind.draw(rows),
        )  # fmt: skip
        totals.add(frames, [ALL_FRAMES if groups is None else groups[row] for row in rows.tolist()])
    collected = processes.gather((totals, skipped))
    if not processes.is_main:
        return None
    totals, *others = [part for part, _ in collected if part is not None] or [None]
    for other in others:
        totals.merge(other)
    if totals is None:
        raise DiffPoseError(f"split '{info.split}' has no frame to score: check its subjects, actions and stride")
    return _summarise(totals, info, averaging, expected_groups, [row for _, rows in collected for row in rows])
