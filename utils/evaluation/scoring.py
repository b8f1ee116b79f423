"""Scoring of sampled hypotheses: one loop for every split and every source of predictions.

Numbers of three kinds are kept apart: *oracle* ones (best, worst, median, mean of the errors) need the truth; *usable*
ones score a single pose that was made of the hypotheses without the truth; *blind* ones never saw the image.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import torch
from torch import Tensor

from utils.distributed import SINGLE, Processes
from utils.errors import DiffPoseError
from utils.evaluation.baselines import ImageBlindBaseline
from utils.evaluation.calibration import Calibration, CalibrationCounter
from utils.evaluation.consensus import Estimator
from utils.evaluation.frame_scores import CURVES, FrameScores, score_frames
from utils.evaluation.metrics import METRICS, cps_curve
from utils.skeleton import Skeleton

BY_ACTION = "by action"
BY_FRAME = "by frame"
ALL_FRAMES = "all"


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
        subsets: name of a part of the frames -> averages over its frames (easy and hard ones, say).
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
    subsets: dict[str, GroupResult]
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
    rows: list[int] = field(default_factory=list)
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

    def add(self, frames: FrameScores, rows: list[int], groups: list[str]) -> None:
        self.rows += rows
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
        self.rows += other.rows
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


def _summarise_subsets(totals: _Totals, subsets: Mapping[str, Collection[int]]) -> dict[str, GroupResult]:
    found = {}
    scores = {row: np.concatenate(parts) for row, parts in totals.scores.items()}  # each (F, M)
    for name, rows in subsets.items():
        chosen = np.isin(totals.rows, list(rows))
        if chosen.any():
            averages = {row: _as_dict(values[chosen].mean(0, dtype=np.float64)) for row, values in scores.items()}
            found[name] = GroupResult(int(chosen.sum()), averages)
    return found


def _summarise(
    totals: _Totals,
    info: SplitInfo,
    averaging: str,
    expected: Sequence[str],
    subsets: Mapping[str, Collection[int]],
    skipped: list[int],
) -> SplitResult:
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
        subsets=_summarise_subsets(totals, subsets),
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


def evaluate(
    batches: Iterable[Mapping],
    *,
    skeleton: Skeleton,
    info: SplitInfo,
    groups: Mapping[int, str] | None = None,
    averaging: str = BY_FRAME,
    expected_groups: Sequence[str] = (),
    subsets: Mapping[str, Collection[int]] | None = None,
    blind: ImageBlindBaseline | None = None,
    estimators: Mapping[str, Estimator] | None = None,
    skipped_rows: Sequence[int] = (),
    processes: Processes = SINGLE,
) -> SplitResult | None:
    """Score a stream of batches; memory does not grow with frames x H x J.

    Args:
        batches: dicts with ``row`` (B,), ``hypotheses_mm`` (B, H, J, 3), ``gt_mm`` (B, J, 3), optionally ``z0_mm``
            (B, J, 3) or None, ``heatmap`` (B, 16, 64, 64) and ``valid`` (B,) bool: rows that are not valid are left out
            and listed as skipped.
            Poses are root-centred, mm, evaluation frame; tensors of any device, or arrays.
        groups: row -> action (or TS1..TS6); without it all frames form one group.
        averaging: 'by action': each metric over a group's frames, then over the groups present; or 'by frame'.
        expected_groups: groups that should be there; those without a frame are reported by name.
        subsets: name -> rows of the file; each part's averages over frames are reported as well.
        blind: adds the image-blind rows.
        estimators: key -> rule of utils.evaluation.consensus that makes one usable pose; the mean pose by default.
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
            poses["hypotheses_mm"],
            poses.get("z0_mm"),
            poses["gt_mm"],
            skeleton,
            estimators=estimators,
            heatmaps=heatmaps,
            blind_mean_pose=blind and blind.mean_pose,
            blind_mm=blind and blind.draw(rows),
        )
        totals.add(frames, rows.tolist(), [ALL_FRAMES if groups is None else groups[row] for row in rows.tolist()])
    collected = processes.gather((totals, skipped))
    if not processes.is_main:
        return None
    totals, *others = [part for part, _ in collected if part is not None] or [None]
    for other in others:
        totals.merge(other)
    if totals is None:
        raise DiffPoseError(f"split '{info.split}' has no frame to score: check its subjects, actions and stride")
    skipped = [row for _, rows in collected for row in rows]
    return _summarise(totals, info, averaging, expected_groups, subsets or {}, skipped)
