"""A person in a picture, and what every 2D detector offers.

Images are RGB (H, W, 3) uint8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from demo.crops import Square
from demo.landmarks import Landmarks
from utils.errors import DiffPoseError
from utils.skeleton import HEATMAP_SIZE


@dataclass(frozen=True)
class Person:
    """One person of one image.

    Attributes:
        corner, side, angle: the crop, px and radians; see :class:`demo.crops.Square`.
        heatmaps: (16, 64, 64) float32 over the crop; cell (c, r) lies at (c, r) / 64 of it.
        joints_px: (16, 2) the detector's best guess of each MPII joint; NaN where keypoints lack it.
        confidence: (16,) peaks of the heatmaps.
        landmarks: the embedded detector's own result, or None.
        next_region: where that detector would look again, or None.
    """

    corner: np.ndarray
    side: float
    heatmaps: np.ndarray
    joints_px: np.ndarray
    confidence: np.ndarray
    landmarks: Landmarks | None = None
    angle: float = 0.0
    next_region: Square | None = None

    @property
    def square(self) -> Square:
        return Square(self.corner, self.side, self.angle)

    @property
    def region(self) -> Square:
        """Where the detector should look in the next frame of a video."""
        return self.next_region or self.square

    def cells_to_px(self, cells: np.ndarray) -> np.ndarray:
        """Cells (..., 2) as (column, row) -> px of the image."""
        return self.square.to_px(np.asarray(cells) / HEATMAP_SIZE)


class NoPersonError(DiffPoseError):
    """Nobody, or nobody large enough, is to be seen; ``too_small``: sizes, px, of people who were left out."""

    def __init__(self, message: str, *, too_small: Sequence[int] = ()):
        super().__init__(message)
        self.too_small = tuple(too_small)


class Detector(Protocol):
    """What finds people; ``name`` is kept with the results.

    A detector may have ``too_small``, the sizes in px of the people in the last image who were left out for theirs.
    """

    name: str

    def people(self, image: np.ndarray, *, near: list[Square] | None = None) -> list[Person]: ...
    def person_in(self, image: np.ndarray, square: Square) -> Person | None: ...


def peak_cells(heatmaps: np.ndarray) -> np.ndarray:
    """(J, 2) column and row of each map's maximum, moved by the map's values around it."""
    cells = np.empty((len(heatmaps), 2))
    for j, heatmap in enumerate(heatmaps):
        row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
        rows, columns = (slice(max(v - 2, 0), v + 3) for v in (row, column))
        part = np.clip(heatmap[rows, columns], 1e-9, None).astype(np.float64)
        y, x = np.mgrid[rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]]
        cells[j] = (x * part).sum() / part.sum(), (y * part).sum() / part.sum()
    return cells
