"""Squares around people: the crop that the models were trained with, and the one that holds a rectangle."""

import numpy as np

from utils import crops


def crop_box(points: np.ndarray) -> tuple[np.ndarray, int]:
    """Upper left corner (2,) and side, whole px, of the crop around 2D points (P, 2)."""
    corner, side = crops.crop_box(points)
    return corner, int(side)


def square_around(x: float, y: float, width: float, height: float) -> tuple[np.ndarray, int]:
    """Corner (2,) and side, px, of the square with the middle of a rectangle that holds all of it."""
    side = int(np.ceil(max(width, height)))
    return np.array([x + width / 2 - side / 2, y + height / 2 - side / 2]), side
