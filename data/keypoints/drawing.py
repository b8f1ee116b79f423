"""Heatmaps drawn from keypoints: a Gaussian each, the wider and lower the less sure the detector is of the point."""

from dataclasses import dataclass

import numpy as np

from utils.heatmaps import LOST_LEVEL
from utils.skeleton import HEATMAP_SIZE


@dataclass(frozen=True)
class PeakModel:
    """How width and height of a drawn map follow the confidence c of its point.

    The standard deviation is ``width`` cells where c is ``sure`` or more, grows as (sure / c) ** ``growth`` below, and
    is at most ``widest``. The height falls as the width grows: ``height`` (width / std) ** ``fall``. A point with c
    below ``seen`` counts as unseen.
    """

    width: float = 2.0
    growth: float = 1.4
    widest: float = 6.0
    sure: float = 0.84
    height: float = 0.84
    fall: float = 0.9
    seen: float = 0.05

    def std(self, confidence: np.ndarray) -> np.ndarray:
        """Cells, for confidences of any shape."""
        share = np.clip(confidence, 1e-3, self.sure) / self.sure
        return np.minimum(self.width * share**-self.growth, self.widest)

    def peak(self, std: np.ndarray) -> np.ndarray:
        """Height of maps of these widths."""
        return self.height * np.minimum(self.width / std, 1.0) ** self.fall


PEAKS = PeakModel()
"""What was chosen on recorded motion to validate on: see docs/demo.md."""


def draw_heatmaps(
    cells: np.ndarray, confidence: np.ndarray, error: np.ndarray | float = 0.0, *, model: PeakModel = PEAKS
) -> np.ndarray:
    """Heatmaps (N, J, 64, 64) float32 of points at ``cells`` (N, J, 2), column and row.

    ``confidence`` (N, J); ``error`` (N, J), cells: what a rule that made the point adds to its width. Unseen joints
    (confidence under ``model.seen``) get the map that says nothing: the same small value everywhere.
    """
    unseen = ~(confidence >= model.seen)
    std = np.sqrt(model.std(confidence) ** 2 + np.square(error))
    centre = np.clip(np.nan_to_num(cells), 0, HEATMAP_SIZE - 1)
    away = (np.arange(HEATMAP_SIZE) - centre[..., None]) / std[..., None, None]  # (N, J, 2, 64)
    column, row = np.moveaxis(np.exp(-0.5 * away**2), 2, 0)
    maps = (model.peak(std)[..., None] * row)[..., None] * column[..., None, :]
    return np.where(unseen[..., None, None], LOST_LEVEL, maps).astype(np.float32)
