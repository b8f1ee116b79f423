"""What the scoring loop keeps of the frames it has seen, and the averages made from that."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from utils.evaluation.calibration import CalibrationCounter
from utils.evaluation.frame_scores import CURVES, FrameScores
from utils.evaluation.metrics import METRICS, cps_curve
from utils.evaluation.recordings import Recordings, RecordingTotals
from utils.evaluation.split_result import BY_ACTION, GroupResult, SplitInfo, SplitResult
from utils.skeleton import Skeleton


@dataclass
class Totals:
    """A few numbers per frame, and sums whose size depends only on H, J and the number of groups."""

    skeleton: Skeleton
    num_hypotheses: int
    rows: list[int] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    scores: dict[str, list[np.ndarray]] = field(default_factory=dict)
    energy: list[np.ndarray] = field(default_factory=list)
    curves: dict[str, np.ndarray] = field(default_factory=dict)
    spread: np.ndarray = field(default_factory=lambda: np.zeros(()))
    sharpness: float = 0.0

    def __post_init__(self) -> None:
        joints, rooted = self.skeleton.joints, self.skeleton.rooted
        self.recordings = RecordingTotals(num_hypotheses=self.num_hypotheses, joints=joints, skip_root=rooted)
        self.calibration: CalibrationCounter | None = None
        if self.num_hypotheses > 1:
            self.calibration = CalibrationCounter(num_hypotheses=self.num_hypotheses, joints=joints, skip_root=rooted)

    def add(self, frames: FrameScores, rows: list[int], groups: list[str], recordings: list[str]) -> None:
        """Add the scores of B frames: their row numbers, the group of each, and its recording (none: an empty list)."""
        self.rows += rows
        self.groups += groups
        for row, scores in frames.scores.items():
            self.scores.setdefault(row, []).append(scores)
        self.energy.append(frames.energy)
        if recordings:
            self.recordings.add(frames, recordings)
        curves = np.stack([frames.best_of_n[key] for key in CURVES], axis=1)  # (B, 2, H)
        for group in set(groups):
            mine = curves[[g == group for g in groups]].sum(0, dtype=np.float64)
            self.curves[group] = self.curves.get(group, 0.0) + mine
        if self.calibration is not None and frames.spread is not None:
            self.calibration.add(frames.closer, frames.farther)
            self.spread = self.spread + frames.spread.sum(0, dtype=np.float64)
            lengths = np.sqrt(np.square(frames.spread[:, int(self.skeleton.rooted) :], dtype=np.float64).sum(-1))
            self.sharpness += float(lengths.mean(-1).sum())

    def merge(self, other: "Totals") -> None:
        """Add the frames that another process has scored; they follow this one's."""
        self.rows += other.rows
        self.groups += other.groups
        for row, parts in other.scores.items():
            self.scores.setdefault(row, []).extend(parts)
        self.energy += other.energy
        self.recordings.merge(other.recordings)
        for group, curve in other.curves.items():
            self.curves[group] = self.curves.get(group, 0.0) + curve
        if self.calibration is not None and other.calibration is not None:
            self.calibration.merge(other.calibration)
            self.spread = self.spread + other.spread
            self.sharpness += other.sharpness


def _as_dict(averages: np.ndarray) -> dict[str, float]:
    return {metric.key: float(value) for metric, value in zip(METRICS, averages, strict=True)}


def _summarise_subsets(totals: Totals, subsets: Mapping[str, Collection[int]]) -> dict[str, GroupResult]:
    found = {}
    scores = {row: np.concatenate(parts) for row, parts in totals.scores.items()}  # each (F, M)
    for name, rows in subsets.items():
        chosen = np.isin(totals.rows, list(rows))
        if chosen.any():
            averages = {row: _as_dict(values[chosen].mean(0, dtype=np.float64)) for row, values in scores.items()}
            found[name] = GroupResult(int(chosen.sum()), averages)
    return found


def summarise(
    totals: Totals,
    info: SplitInfo,
    averaging: str,
    expected: Sequence[str],
    subsets: Mapping[str, Collection[int]],
    recordings: Recordings | None,
    skipped: Sequence[int],
) -> SplitResult:
    """The averages of a split; the arguments are those of :func:`utils.evaluation.evaluate`."""
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
    energy = np.bincount(number, weights=np.concatenate(totals.energy), minlength=len(names)) / frames_in
    each, alike = totals.recordings.results(recordings.kinds) if recordings else ({}, {})
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
        recordings=each,
        recording_averages=alike,
        subsets=_summarise_subsets(totals, subsets),
        missing_groups=tuple(name for name in expected if name not in totals.curves),
        best_of_n={key: tuple(curves[i].tolist()) for i, key in enumerate(CURVES)},
        energy_score=float(weights @ energy),
        calibration=calibration.result() if calibration else None,
        spread_mm=tuple(map(tuple, (totals.spread / frames).tolist())) if calibration else None,
        sharpness_mm=totals.sharpness / frames if calibration else None,
        cps_curve=tuple((weights @ np.stack(cps_curves)).tolist()),
        skipped_rows=tuple(sorted(set(skipped))),
    )
