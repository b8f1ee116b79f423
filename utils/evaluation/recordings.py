"""Averages in which every recording counts alike, however many frames it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from utils.evaluation.calibration import LEVELS, CalibrationCounter, covered
from utils.evaluation.frame_scores import FrameScores
from utils.evaluation.metrics import METRICS
from utils.evaluation.split_result import RecordingResult

ALL_RECORDINGS = "all recordings"


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """``of_row``: row -> the name of its recording; ``kinds``: kind of motion -> names of its recordings."""

    of_row: Mapping[int, str]
    kinds: Mapping[str, Sequence[str]]


class RecordingTotals:
    """Sums for each recording: their size depends on H, J and the number of recordings only."""

    def __init__(self, *, num_hypotheses: int, joints: tuple[str, ...], skip_root: bool):
        self._num_hypotheses, self._joints, self._skip_root = num_hypotheses, joints, skip_root
        self._frames: dict[str, int] = {}
        self._scores: dict[str, dict[str, np.ndarray]] = {}
        self._energy: dict[str, float] = {}
        self._calibration: dict[str, CalibrationCounter] = {}

    def add(self, frames: FrameScores, names: Sequence[str]) -> None:
        """Count B frames, each of the recording of that name."""
        for name in dict.fromkeys(names):
            mine = np.array([other == name for other in names])
            sums = {row: scores[mine].sum(0, dtype=np.float64) for row, scores in frames.scores.items()}
            self._add(name, int(mine.sum()), sums, float(frames.energy[mine].sum(dtype=np.float64)))
            if self._num_hypotheses > 1:
                self._counter(name).add(frames.closer[mine], frames.farther[mine])

    def _counter(self, name: str) -> CalibrationCounter:
        if name not in self._calibration:
            self._calibration[name] = CalibrationCounter(
                num_hypotheses=self._num_hypotheses, joints=self._joints, skip_root=self._skip_root
            )
        return self._calibration[name]

    def _add(self, name: str, frames: int, sums: Mapping[str, np.ndarray], energy: float) -> None:
        self._frames[name] = self._frames.get(name, 0) + frames
        self._energy[name] = self._energy.get(name, 0.0) + energy
        scores = self._scores.setdefault(name, {})
        for row, value in sums.items():
            scores[row] = scores[row] + value if row in scores else value

    def merge(self, other: "RecordingTotals") -> None:
        """Add the frames that another process has scored."""
        for name, frames in other._frames.items():
            self._add(name, frames, other._scores[name], other._energy[name])
            if name in other._calibration:
                self._counter(name).merge(other._calibration[name])

    def results(
        self, kinds: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, RecordingResult], dict[str, RecordingResult]]:
        """Each recording's own averages, and those of each kind (kind -> recordings) and of all recordings."""
        names = sorted(self._frames)
        groups = {kind: [name for name in members if name in self._frames] for kind, members in kinds.items()}
        groups = {kind: members for kind, members in groups.items() if kind and members}
        averages = {kind: self._average(members) for kind, members in (groups | {ALL_RECORDINGS: names}).items()}
        return {name: self._average([name]) for name in names}, averages

    def _average(self, names: Sequence[str]) -> RecordingResult:
        def mean(row: str) -> dict[str, float]:
            value = np.mean([self._scores[name][row] / self._frames[name] for name in names], axis=0)
            return {metric.key: float(number) for metric, number in zip(METRICS, value, strict=True)}

        error: float | None = None
        shares: dict[str, float] = {}
        if self._calibration:
            observed = np.mean([self._calibration[name].observed() for name in names], axis=0)  # (J, L)
            error, shares = float(np.abs(observed - np.asarray(LEVELS)).mean()), covered(observed)
        return RecordingResult(
            num_recordings=len(names),
            num_frames=sum(self._frames[name] for name in names),
            rows={row: mean(row) for row in self._scores[names[0]]},
            energy_score=float(np.mean([self._energy[name] / self._frames[name] for name in names])),
            calibration_error=error,
            covered_50=shares.get("covered_50"),
            covered_80=shares.get("covered_80"),
            covered_95=shares.get("covered_95"),
        )
