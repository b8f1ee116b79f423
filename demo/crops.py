"""The square that the models were trained with: 1.2 times the extent of a person's joints, in whole pixels."""

import numpy as np

CROP_MARGIN = 1.2


def crop_box(points: np.ndarray) -> tuple[np.ndarray, int]:
    """Upper left corner (2,) and side, whole px, of the crop around 2D points (P, 2)."""
    high, low = points.max(axis=0), points.min(axis=0)
    centre = np.round((high + low) / 2)
    side = max(int(np.round(CROP_MARGIN * (high - low).max())), 2)
    return np.round(centre - side / 2), side


def square_around(x: float, y: float, width: float, height: float) -> tuple[np.ndarray, int]:
    """Corner (2,) and side, px, of the square with the middle of a rectangle that holds all of it."""
    side = int(np.ceil(max(width, height)))
    return np.array([x + width / 2 - side / 2, y + height / 2 - side / 2]), side
