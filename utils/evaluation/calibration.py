"""Are the hypotheses as far apart as they should be? The reliability of their spread, without a threshold in mm.

For each joint the hypotheses lie at some distance from their own per-axis median pose. If the truth is one more draw
from the same distribution, the rank of its distance among theirs is uniform: the ball that holds a share q of the
hypotheses then holds the truth in a share q of the frames. If it holds the truth less often, the hypotheses are
overconfident.
"""

from dataclasses import dataclass

import numpy as np

LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))


@dataclass(frozen=True)
class Calibration:
    """Calibration of J joints over ``num_frames`` frames.

    Attributes:
        levels: (L,) nominal shares, 0.05 .. 0.95.
        observed: (L,) share of frames whose truth lies within the level's ball, averaged over the joints.
        observed_per_joint: (J, L) the same for each joint.
        covered_50, covered_80, covered_95: ``observed`` at these levels: how often the truth lies within the region
            that holds 50, 80 and 95 % of the hypotheses.
        error: mean over joints of ``error_per_joint``: expected calibration error, 0 (ideal) .. 0.5.
        error_per_joint: (J,) mean over levels of |observed - nominal|.
        joints: (J,) names, without the root, which is always zero.
        truth_quantile: median over joints of ``truth_quantile_per_joint`` (the literature's 'ECE'; ideal 0.5).
        truth_quantile_per_joint: (J,) mean share of hypotheses farther from the median pose than the truth.
        num_frames: frames counted; chance alone gives an error of about 0.3 / sqrt(num_frames).
    """

    levels: tuple[float, ...]
    observed: tuple[float, ...]
    observed_per_joint: tuple[tuple[float, ...], ...]
    covered_50: float
    covered_80: float
    covered_95: float
    error: float
    error_per_joint: tuple[float, ...]
    joints: tuple[str, ...]
    truth_quantile: float
    truth_quantile_per_joint: tuple[float, ...]
    num_frames: int


def observed_shares(rank_counts: np.ndarray, levels: tuple[float, ...] = LEVELS) -> np.ndarray:
    """Share of frames (J, L) whose truth lies within each nominal level.

    ``rank_counts`` (J, H + 1): how many frames had r hypotheses closer to the median than the truth. An ideal sampler
    fills r = 0 .. H evenly; rank r stands for the interval [r, r + 1] / (H + 1), so no level suffers from rounding.
    """
    ranks = rank_counts.shape[1]
    covered = np.clip(np.asarray(levels)[:, None] * ranks - np.arange(ranks), 0.0, 1.0)  # (L, H + 1)
    return rank_counts @ covered.T / rank_counts.sum(1, keepdims=True)


def covered(observed: np.ndarray) -> dict[str, float]:
    """``covered_50``, ``covered_80`` and ``covered_95`` of the shares (J, L) observed at :data:`LEVELS`."""
    mean = observed.mean(0)
    return {f"covered_{100 * level:.0f}": float(mean[LEVELS.index(level)]) for level in (0.5, 0.8, 0.95)}


class CalibrationCounter:
    """Counts the ranks of the truth, frame by frame; its size depends only on J and H."""

    def __init__(self, *, num_hypotheses: int, joints: tuple[str, ...], skip_root: bool = True):
        if num_hypotheses < 2:
            raise ValueError(f"calibration needs at least 2 hypotheses, got {num_hypotheses}")
        self._first = int(skip_root)
        self._joints = joints
        self._counts = np.zeros((len(joints), num_hypotheses + 1), dtype=np.int64)
        self._farther = np.zeros(len(joints))
        self._frames = 0

    def add(self, closer: np.ndarray, farther: np.ndarray) -> None:
        """Count frames: hypotheses closer to and farther from the median than the truth, both (B, J)."""
        closer, farther = np.asarray(closer), np.asarray(farther)
        if closer.shape != farther.shape or closer.ndim != 2 or closer.shape[1] != len(self._joints):
            raise ValueError(f"ranks must be (B, {len(self._joints)}), got {closer.shape} and {farther.shape}")
        for joint in range(len(self._joints)):
            self._counts[joint] += np.bincount(closer[:, joint], minlength=self._counts.shape[1])
        self._farther += farther.sum(0) / (self._counts.shape[1] - 1)
        self._frames += len(closer)

    def merge(self, other: "CalibrationCounter") -> None:
        """Add the frames that another counter of the same size has counted."""
        self._counts += other._counts
        self._farther += other._farther
        self._frames += other._frames

    def observed(self) -> np.ndarray:
        """Share (J, L) of the frames so far whose truth lies within each level, root left out."""
        return observed_shares(self._counts[self._first :])

    def result(self) -> Calibration:
        """The calibration over all frames so far. Raises ValueError if there are none."""
        if not self._frames:
            raise ValueError("no frame was counted")
        observed = self.observed()
        errors = np.abs(observed - np.asarray(LEVELS)).mean(1)
        quantiles = self._farther[self._first :] / self._frames
        return Calibration(
            levels=LEVELS,
            observed=tuple(observed.mean(0).tolist()),
            observed_per_joint=tuple(tuple(row) for row in observed.tolist()),
            **covered(observed),
            error=float(errors.mean()),
            error_per_joint=tuple(errors.tolist()),
            joints=self._joints[self._first :],
            truth_quantile=float(np.median(quantiles)),
            truth_quantile_per_joint=tuple(quantiles.tolist()),
            num_frames=self._frames,
        )
